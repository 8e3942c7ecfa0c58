"""The blocks of a space that name things: who proposes, who stops, what attacks, what counts."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Ge, Gt, Le
from pydantic.dataclasses import dataclass

from raysweep import durations
from raysweep.errors import SpaceError
from raysweep.inversion import INVERSION
from raysweep.membership import MEMBERSHIP
from raysweep.registry import build, fields, lookup, suggestion

SAMPLERS: dict[str, str] = {
    "tpe": "tree-structured Parzen estimators: learns from finished trials (default)",
    "random": "independent draws",
    "qmc": "a scrambled Sobol sequence: random, but evenly spread",
    "nsgaii": "a genetic algorithm for two or three objectives",
    "nsgaiii": "a genetic algorithm for more objectives",
    "gp": "a Gaussian process: the fewest trials, seconds of thought for each",
    "grid": "every combination of `values` and `points`",
}
OBJECTIVES: dict[str, Literal["max", "min"]] = {
    "accuracy": "max",
    "attack_auc": "min",
    "inversion_mse": "max",
    "epsilon": "min",
    "train_seconds": "min",
}


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Who proposes, how many trials in all (the undefended baseline is one), from which seed."""

    name: str = "tpe"
    trials: Annotated[int, Gt(0)] = 40
    seed: Annotated[int, Ge(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial takes: CPUs, and a share of a GPU (whole above 1) where there is one.

    An attempt that runs longer than ``time_limit`` (90s, 30m, 2h) is ended and tried again.
    """

    cpu: Annotated[float, Gt(0)] = 1.0
    gpu: Annotated[float, Ge(0)] = 0.0
    time_limit: str | float | None = None

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


KNOWN_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Stop trials that others leave behind at a rung (MO-ASHA, Schmucker et al. 2021).

    Rungs stand after epoch ``grace_epochs`` (default: 60 % of the epochs; rungs after 20 and
    60 % lost a tenth of the hypervolume in benchmarks.pruning) and ``reduction_factor`` times as
    far each time. Of the trials seen at a rung so far, the share ``keep`` goes on (default
    1 / reduction_factor; 1 stops nobody and still measures), the others stop.
    """

    name: Literal["mo_asha"] = "mo_asha"
    grace_epochs: Annotated[int, Gt(0)] | None = None
    reduction_factor: Annotated[float, Gt(1)] = 2.0
    keep: Annotated[float, Gt(0), Le(1)] | None = None

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


DEFAULT_ATTACKS: dict[str, Any] = {
    "membership": ["max_posterior", "loss", "entropy", "shadow"],
    "inversion": {"activation_decoder": {"layers": ["output"]}},
}


def attacks(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attacks block complete: name -> parameters, and which figures count."""
    given = dict(given) or DEFAULT_ATTACKS
    known = ("membership", "inversion", "attack_auc", "inversion_mse", "known_share")
    for key in given:
        if key not in known:
            raise SpaceError(f"unknown key {key!r}{suggestion(key, known)}", [key])
    membership = _family(given.get("membership"), MEMBERSHIP, "membership")
    inversion = _family(given.get("inversion"), INVERSION, "inversion")
    counted = given.get("attack_auc", "strongest")
    if counted not in ("strongest", "mean", *membership):
        hint = suggestion(str(counted), ["strongest", "mean", *membership])
        raise SpaceError(
            f"`attack_auc` names no configured attack: {counted!r}{hint}", ["attack_auc"]
        )
    layers = [layer for attack in inversion.values() for layer in attack.get("layers", ())]
    usual = "output" if "output" in layers or not inversion else layers[-1] if layers else None
    layer = given.get("inversion_mse", usual)
    if inversion and layer not in (layers or [None]):
        law = f"`inversion_mse` must be one of the attacked layers {layers}"
        raise SpaceError(f"{law}, got {layer!r}", ["inversion_mse"])
    block = {
        "membership": membership,
        "inversion": inversion,
        "attack_auc": counted,
        "inversion_mse": layer,
    }
    needy = [name for name in membership if MEMBERSHIP[name].needs_known]
    if needy or "known_share" in given:
        block["known_share"] = _known_share(given.get("known_share", KNOWN_SHARE), needy)
    return block


def _known_share(given: Any, needy: list[str]) -> float:
    """Return the share of members and nonmembers that attackers know, left out of judging."""
    place = ["known_share"]
    if not needy:
        names = ", ".join(name for name, kind in MEMBERSHIP.items() if kind.needs_known)
        raise SpaceError(
            f"`known_share` is for attacks that know members ({names}): name one", place
        )
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise SpaceError(f"`known_share` must be between 0 and 1, got {given!r}", place)
    return float(given)


def counting(attacks: Mapping[str, Any]) -> list[str]:
    """Return the membership attacks that `attack_auc` may be taken from: black-box, or named."""
    if attacks["attack_auc"] in attacks["membership"]:
        return [attacks["attack_auc"]]
    return [name for name in attacks["membership"] if MEMBERSHIP[name].access == "black-box"]


def _family(given: Any, table: Mapping[str, type[Any]], family: str) -> dict[str, dict[str, Any]]:
    """Return name -> complete parameters; a list is shorthand for names without parameters."""
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict | None):
        law = f"`attacks.{family}` must be a list of names, or a mapping of name to parameters"
        raise SpaceError(f"{law}, got {given!r}", [family])
    complete = {}
    for name, parameters in (given or {}).items():
        if not isinstance(parameters, dict | None):
            raise SpaceError(f"parameters are a mapping, got {parameters!r}", [family, name])
        try:
            attack = build(lookup(table, name, f"{family} attack"), parameters or {})
        except SpaceError as error:
            raise error.under(family, name) from None
        found = {key: getattr(attack, key) for key in fields(type(attack))}
        complete[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    return complete


def objectives(given: Any, attacks: Mapping[str, Any]) -> dict[str, Literal["max", "min"]]:
    """Return objective -> direction, each with an attack that yields it."""
    chosen = dict(OBJECTIVES.items()) if given is None else given
    if given is None:
        chosen = {name: OBJECTIVES[name] for name in ("accuracy", "attack_auc", "inversion_mse")}
    if not isinstance(chosen, dict) or not chosen:
        raise SpaceError("`objectives` must be a mapping such as {accuracy: max}", ["objectives"])
    sources = {
        "attack_auc": ("membership", counting(attacks)),
        "inversion_mse": (
            "inversion",
            [name for name, found in attacks["inversion"].items() if found.get("layers")],
        ),
    }
    for name, direction in chosen.items():
        place = ("objectives", name)
        if name not in OBJECTIVES:
            raise SpaceError(f"unknown objective {name!r}{suggestion(name, OBJECTIVES)}", place)
        if direction != OBJECTIVES[name]:
            raise SpaceError(f"`{name}` must be `{OBJECTIVES[name]}`, got {direction!r}", place)
        family, found = sources.get(name, ("", [name]))
        if not found:
            remedy = f"name one under attacks.{family}"
            if name == "attack_auc" and attacks[family]:
                remedy = (
                    f"{', '.join(attacks[family])} is white-box: set attacks.{name} to count it"
                )
            raise SpaceError(f"objective {name!r} needs an attack that yields it: {remedy}", place)
    return {name: OBJECTIVES[name] for name in chosen}


def rung_objectives(
    objectives: Mapping[str, Literal["max", "min"]], attacks: Mapping[str, Any]
) -> dict[str, Literal["max", "min"]]:
    """Return the objectives that a rung can measure cheaply, the ones that it compares.

    Reconstruction error counts there when the black-box one (layer ``output``) counts in the end.
    """
    black_box = attacks["inversion_mse"] == "output"
    return {k: v for k, v in objectives.items() if k != "inversion_mse" or black_box}
