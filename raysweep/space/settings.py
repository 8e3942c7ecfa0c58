"""The blocks of a space that name things: who proposes, who stops, what attacks, what counts."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Ge, Gt, Le
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.config import durations
from raysweep.config.registry import build
from raysweep.errors import SpaceError

SAMPLERS: dict[str, str] = {
    "tpe": "tree-structured Parzen estimators: learns from finished trials (default)",
    "random": "independent draws",
    "qmc": "a scrambled Sobol sequence: random, but evenly spread",
    "nsgaii": "a genetic algorithm for two or three objectives",
    "nsgaiii": "a genetic algorithm for more objectives",
    "gp": "a Gaussian process: the fewest trials, seconds of thought for each",
    "grid": "every combination of `values` and `points`",
}


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Who proposes, how many trials in all (the undefended baseline is one), from which seed."""

    name: Annotated[str, Field(description="how the next configuration is chosen")] = "tpe"
    trials: Annotated[
        int, Gt(0), Field(description="trials in all; the undefended baseline is one of them")
    ] = 40
    seed: Annotated[
        Annotated[int, Ge(0)] | None,
        Field(description="seed of the proposals; null: `seed` of the space"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial takes: CPUs, and a share of a GPU (whole above 1) where there is one.

    An attempt that runs longer than ``time_limit`` (90s, 30m, 2h) is ended and tried again.
    """

    cpu: Annotated[float, Gt(0), Field(description="CPU cores of one trial")] = 1.0
    gpu: Annotated[
        float, Ge(0), Field(description="share of a GPU for one trial; whole above 1")
    ] = 0.0
    time_limit: Annotated[
        str | float | None,
        Field(description="an attempt that runs longer (90s, 30m, 2h) is ended and tried again"),
    ] = None

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds, None without one."""
        return None if self.time_limit is None else durations.seconds(self.time_limit)

    @pydantic.field_validator("time_limit")
    @classmethod
    def _is_duration(cls, time_limit: str | float | None) -> str | float | None:
        if time_limit is not None:
            try:
                durations.seconds(time_limit)
            except ValueError as error:
                raise ValueError(f"`time_limit` {error}") from None
        return time_limit

    @pydantic.field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, gpu: float) -> float:
        if gpu > 1 and gpu != int(gpu):
            raise ValueError(f"`gpu` above 1 must be whole, got {gpu}")
        return gpu


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Stop trials that others leave behind at a rung (MO-ASHA, Schmucker et al. 2021).

    Rungs stand after epoch ``grace_epochs`` (default: 60 % of the epochs; rungs after 20 and
    60 % lost a tenth of the hypervolume in benchmarks.pruning) and ``reduction_factor`` times as
    far each time. Of the trials seen at a rung so far, the share ``keep`` goes on (default
    1 / reduction_factor; 1 stops nobody and still measures), the others stop.
    """

    name: Annotated[
        Literal["mo_asha"],
        Field(description="the rule that stops trials (MO-ASHA, Schmucker et al. 2021)"),
    ] = "mo_asha"
    grace_epochs: Annotated[
        Annotated[int, Gt(0)] | None,
        Field(description="epoch of the first rung; null: 60 % of the epochs"),
    ] = None
    reduction_factor: Annotated[
        float, Gt(1), Field(description="each rung stands this many times as far as the one before")
    ] = 2.0
    keep: Annotated[
        Annotated[float, Gt(0), Le(1)] | None,
        Field(description="share of the trials at a rung that go on; null: 1 / reduction_factor"),
    ] = None

    def epochs(self, last: int) -> tuple[int, ...]:
        """Return the epochs after which a training of ``last`` epochs stands at a rung.

        >>> Pruning(grace_epochs=1).epochs(15)
        (1, 2, 4, 8)
        >>> Pruning().epochs(15)
        (9,)
        """
        found: list[int] = []
        reach = float(ceil(0.6 * last) if self.grace_epochs is None else self.grace_epochs)
        while ceil(reach - 1e-9) < last:
            found.append(ceil(reach - 1e-9))
            reach *= self.reduction_factor
        return tuple(dict.fromkeys(found))

    def quota(self, n: int) -> int:
        """Return how many of ``n`` trials seen at a rung go on; all of the first 1 / keep.

        >>> [Pruning().quota(n) for n in (1, 2, 3, 4, 30)]
        [1, 1, 2, 2, 15]
        """
        share = 1 / self.reduction_factor if self.keep is None else self.keep
        return n if n * share < 1 - 1e-9 else ceil(n * share - 1e-9)


def _block(kind: type[Any], document: Mapping[str, Any], key: str) -> Any:
    given = document.get(key) or {}
    if not isinstance(given, dict):
        raise SpaceError(f"`{key}` must be a mapping, got {given!r}", place=[key])
    try:
        return build(kind, given)
    except SpaceError as error:
        raise error.under(key) from None
