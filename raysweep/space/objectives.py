"""Objectives of a space, each with an attack that yields it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from raysweep.attacks import Attacks
from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError
from raysweep.records.fronts import OBJECTIVES


def objectives(given: Any, attacks: Attacks) -> dict[str, Literal["max", "min"]]:
    """Return objective -> direction, each with an attack that yields it."""
    chosen = dict(OBJECTIVES.items()) if given is None else given
    if given is None:
        chosen = {name: OBJECTIVES[name] for name in ("accuracy", "attack_auc", "inversion_mse")}
    if not isinstance(chosen, dict) or not chosen:
        raise SpaceError(
            "`objectives` must be a mapping such as {accuracy: max}", place=["objectives"]
        )
    sources = {
        "attack_auc": ("membership", attacks.counted),
        "inversion_mse": (
            "inversion",
            [name for name, attack in attacks.inversion.items() if any(attack.layers)],
        ),
    }
    for name, direction in chosen.items():
        place = ("objectives", name)
        if name not in OBJECTIVES:
            raise SpaceError(
                f"unknown objective {name!r}{suggestion(name, OBJECTIVES)}", place=place
            )
        if direction != OBJECTIVES[name]:
            raise SpaceError(
                f"`{name}` must be `{OBJECTIVES[name]}`, got {direction!r}", place=place
            )
        family, found = sources.get(name, ("", [name]))
        if not found:
            remedy = f"name one under attacks.{family}"
            if name == "attack_auc" and attacks.membership:
                names = ", ".join(attacks.membership)
                remedy = f"{names} is white-box: set attacks.{name} to count it"
            raise SpaceError(
                f"objective {name!r} needs an attack that yields it: {remedy}", place=place
            )
    return {name: OBJECTIVES[name] for name in chosen}


def rung_objectives(
    objectives: Mapping[str, Literal["max", "min"]], attacks: Attacks
) -> dict[str, Literal["max", "min"]]:
    """Return the objectives that a rung can measure cheaply, the ones that it compares.

    Reconstruction error counts there when the black-box one (layer ``output``) counts in the end.
    """
    black_box = attacks.inversion_mse == "output"
    return {k: v for k, v in objectives.items() if k != "inversion_mse" or black_box}
