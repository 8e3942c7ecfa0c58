"""The rules of a private choice: the best of a random number of trainings with DP-SGD.

Papernot and Steinke 2022 bound what the choice spends. Their bound needs a number of trainings that
nobody knows, configurations by a law that has not seen the data, trainings that spend alike, a
score that no member has a part in but by the released model, and one winner that is released alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raysweep import defences
from raysweep.config.own_class import is_own_key
from raysweep.config.registry import fields
from raysweep.defences.dpsgd import DPSGD
from raysweep.errors import SpaceError
from raysweep.records.guarantee import is_private_choice
from raysweep.space.space import Space

NO_ATTACKS: Mapping[str, Any] = {"membership": [], "inversion": []}

OF_THE_MECHANISM = {"early_stopping", *fields(DPSGD)} - {"max_grad_norm"}
"""Keys of defences that change what a training spends."""

HARMLESS = ("learning_rate", "momentum", "weight_decay", "optimizer")
"""Keys of ``training`` and ``training.private`` that do not."""


def without_attacks(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with no attack where its choice is private and it names none."""
    if not is_private_choice(document) or document.get("attacks"):
        return document
    return {**document, "attacks": dict(NO_ATTACKS)}


def check_private_choice(space: Space) -> None:
    """Raise :class:`SpaceError` if the choice of a space is to be private and cannot be."""
    if space.sampler.law is None:
        return
    for place, why, remedy in _mistakes(space):
        raise SpaceError(
            f"a choice among a random number of trials is not covered by an epsilon: {why}",
            remedy=remedy,
            place=place,
        )


def _mistakes(space: Space) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield the place of each setting that the bound does not allow, why, and a remedy."""
    sampler, config = space.sampler, space.config()
    if sampler.name != "random":
        why = f"sampler {sampler.name} does not draw each configuration by itself"
        yield ("sampler", "name"), why, "set it to random"
    if sampler.seed is not None:
        yield ("sampler", "seed"), "a seed tells the configurations", "leave `seed` out"
    if space.pruning is not None:
        yield ("pruning",), "pruning looks at other trials", "leave `pruning` out"
    if space.scenarios:
        yield ("scenarios",), "scenarios are not drawn by a law", "leave them out"
    if config.measure is not None:
        yield ("measure",), "`measure` trains other models of the members", "leave it out"
    if config.attacks.membership or config.attacks.inversion:
        yield ("attacks",), "attacks read the members", "leave `attacks` out"
    if space.objectives.to_plain() != {"accuracy": "max"}:
        why = "the winner is chosen by one score, the accuracy on validation examples"
        yield ("objectives",), why, "set it to {accuracy: max}, or leave it out"
    if space.objectives.constraints:
        why = "the score is the accuracy alone, whatever else a trial is"
        yield ("constraints",), why, "leave `constraints` out"
    if not config.defences.is_private:
        why = "every trial needs DP-SGD, with one budget"
        yield ("defences",), why, "set `target_epsilon` there"
    for key in space.axes:
        if not _spends_alike(key):
            why = f"trials would not spend alike, or not train on the same data, with an axis {key}"
            yield ("search", key), why, "fix it, with the value that all trials may spend"


def _spends_alike(key: str) -> bool:
    """Return whether trainings that differ at the key of an axis spend the same."""
    if is_own_key(key) or key.startswith("model."):
        return True
    if defences.is_key(key):
        return key not in OF_THE_MECHANISM
    block, _, rest = key.partition(".")
    return block == "training" and rest.removeprefix("private.") in HARMLESS
