"""The blocks ``sampler``, ``resources`` and ``pruning`` of a space."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.config import durations
from raysweep.config.registry import build
from raysweep.errors import SpaceError

SAMPLERS: dict[str, str] = {
    "tpe": "tree-structured Parzen estimators, fitted to the finished trials (default)",
    "random": "independent draws",
    "qmc": "a scrambled Sobol sequence: random, but evenly spread",
    "nsgaii": "a genetic algorithm for two or three objectives",
    "nsgaiii": "a genetic algorithm for more objectives",
    "gp": "a Gaussian process: the fewest trials, but seconds to choose each",
    "grid": "every combination of `values` and `points`",
}


@dataclass(frozen=True, kw_only=True)
class RandomTrials:
    """A number of trials that is drawn at random and told to nobody.

    The best of so many trainings with DP-SGD is one private choice, see
    :mod:`raysweep.space.private_choice`.
    """

    distribution: Annotated[
        Literal["geometric", "logarithmic"],
        Field(description="law of the number; logarithmic costs less, and is more often 1"),
    ] = "geometric"
    mean: Annotated[float, Gt(1), Le(10_000), Field(description="mean of the number")] = 40.0


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How configurations are proposed, and how many trials there are."""

    name: Annotated[str, Field(description="how the next configuration is chosen")] = "tpe"
    trials: Annotated[
        Annotated[int, Gt(0)] | RandomTrials,
        Field(
            description="trials in all; the undefended baseline is one of them. A mapping of "
            "`distribution` (geometric, logarithmic) and `mean` is a number drawn at random"
        ),
    ] = 40
    seed: Annotated[
        Annotated[int, Ge(0)] | None,
        Field(description="seed of the proposals; null: `seed` of the space"),
    ] = None

    @property
    def law(self) -> RandomTrials | None:
        """The law of a random number of trials; None where the number is fixed."""
        return self.trials if isinstance(self.trials, RandomTrials) else None

    @property
    def n_recorded(self) -> int:
        """How many trials a sweep records: one, the winner, where their number is random."""
        return self.trials if isinstance(self.trials, int) else 1

    @pydantic.field_validator("trials", mode="wrap")
    @classmethod
    def _parse_law(cls, trials: Any, check: Callable[[Any], Any]) -> Any:
        if not isinstance(trials, dict):
            return check(trials)
        try:
            return build(RandomTrials, trials)
        except SpaceError as error:
            raise error.under("trials") from None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The CPU cores of one trial, and its share of a GPU if there is one.

    A share above 1 must be whole. An attempt that runs longer than ``time_limit`` (90s, 30m, 2h) is
    ended and tried again.
    """

    cpu: Annotated[float, Gt(0), Lt(inf), Field(description="CPU cores of one trial")] = 1.0
    gpu: Annotated[
        float, Ge(0), Lt(inf), Field(description="share of a GPU for one trial; whole above 1")
    ] = 0.0
    time_limit: Annotated[
        str | float | None,
        Field(description="an attempt that runs longer (90s, 30m, 2h) is ended and tried again"),
    ] = None

    @property
    def threads(self) -> int:
        """The threads of a trial on the CPU: its whole cores, and at least one."""
        return max(1, int(self.cpu))

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
    def _is_whole_above_one(cls, gpu: float) -> float:
        if gpu > 1 and gpu != int(gpu):
            raise ValueError(f"`gpu` above 1 must be whole, got {gpu}")
        return gpu


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Stop the trials that are worse than others at a rung (MO-ASHA, Schmucker et al. 2021).

    The first rung is after epoch ``grace_epochs``, by default 60 % of the epochs: rungs after 20
    and 60 % lost a tenth of the hypervolume in benchmarks.pruning. Each further rung is after
    ``reduction_factor`` times as many epochs. Of the trials that have reached a rung so far, the
    share ``keep`` goes on, by default 1 / reduction_factor. With a share of 1 no trial stops, but
    rungs are still measured.
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
        float,
        Ge(1.01),
        Field(description="each rung is after this many times the epochs of the rung before"),
    ] = 2.0
    keep: Annotated[
        Annotated[float, Gt(0), Le(1)] | None,
        Field(description="share of the trials at a rung that go on; null: 1 / reduction_factor"),
    ] = None

    def epochs(self, last: int) -> tuple[int, ...]:
        """Return the epochs after which a training of ``last`` epochs reaches a rung.

        >>> Pruning(grace_epochs=1).epochs(15)
        (1, 2, 4, 8)
        >>> Pruning().epochs(15)
        (9,)
        """
        epochs: list[int] = []
        rung = float(ceil(0.6 * last) if self.grace_epochs is None else self.grace_epochs)
        while ceil(rung - 1e-9) < last:
            epochs.append(ceil(rung - 1e-9))
            rung *= self.reduction_factor
        return tuple(dict.fromkeys(epochs))

    def quota(self, n: int) -> int:
        """Return how many of the ``n`` trials at a rung go on. The first 1 / keep trials all do.

        >>> [Pruning().quota(n) for n in (1, 2, 3, 4, 30)]
        [1, 1, 2, 2, 15]
        """
        share = 1 / self.reduction_factor if self.keep is None else self.keep
        return n if n * share < 1 - 1e-9 else ceil(n * share - 1e-9)
