"""The objectives of a space. Each needs an attack that measures it."""

from __future__ import annotations

from typing import Any

from raysweep.attacks import Attacks
from raysweep.errors import SpaceError
from raysweep.records.objectives import Objectives


def parse_objectives(given: Any, attacks: Attacks) -> Objectives:
    """Return the objectives that a space names; by default all that its attacks measure.

    Raises:
        SpaceError: an unknown objective, or one that no configured attack measures.

    """
    layered = [name for name, attack in attacks.inversion.items() if any(attack.layers)]
    sources = {
        "attack_auc": ("membership", attacks.counted),
        "inversion_mse": ("inversion", layered),
    }

    chosen = _default(attacks) if given is None else Objectives.parse(given)
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


def _default(attacks: Attacks) -> Objectives:
    """Return accuracy, and the objective of each family of attacks that the space has."""
    names = {"attack_auc": attacks.membership, "inversion_mse": attacks.inversion}
    return Objectives.of("accuracy", *(name for name, family in names.items() if family))


def rung_objectives(objectives: Objectives, attacks: Attacks) -> Objectives:
    """Return the objectives that trials are compared in at a rung: those that are cheap to measure.

    Reconstruction error is one of them only if it is that of layer ``output`` (black-box).
    """
    skipped = set() if attacks.inversion_mse == "output" else {"inversion_mse"}
    return Objectives.of(*(name for name in objectives.names if name not in skipped))
