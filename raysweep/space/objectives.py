"""The objectives of a space. Each needs an attack that measures it."""

from __future__ import annotations

from typing import Any

from raysweep.attacks import Attacks
from raysweep.errors import SpaceError
from raysweep.records.objectives import Objectives

DEFAULT = Objectives.of("accuracy", "attack_auc", "inversion_mse")


def parse_objectives(given: Any, attacks: Attacks) -> Objectives:
    """Return the objectives that a space names.

    Raises:
        SpaceError: an unknown objective, or one that no configured attack measures.

    """
    chosen = DEFAULT if given is None else Objectives.parse(given)
    layered = [name for name, attack in attacks.inversion.items() if any(attack.layers)]
    sources = {
        "attack_auc": ("membership", attacks.counted),
        "inversion_mse": ("inversion", layered),
    }

    for name in chosen.names:
        family, measuring = sources.get(name, ("", [name]))
        if measuring:
            continue

        remedy = f"name one under attacks.{family}"
        if name == "attack_auc" and attacks.membership:
            white_box = ", ".join(attacks.membership)
            remedy = f"{white_box} is white-box: set attacks.{name} to count it"
        raise SpaceError(
            f"objective {name!r} needs an attack that measures it: {remedy}",
            place=("objectives", name),
        )
    return chosen


def rung_objectives(objectives: Objectives, attacks: Attacks) -> Objectives:
    """Return the objectives that trials are compared in at a rung: those that are cheap to measure.

    Reconstruction error is one of them only if it is that of layer ``output`` (black-box).
    """
    skipped = set() if attacks.inversion_mse == "output" else {"inversion_mse"}
    return Objectives.of(*(name for name in objectives.names if name not in skipped))
