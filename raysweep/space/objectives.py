"""The objectives of a space. Each needs an attack that measures it."""

from __future__ import annotations

import dataclasses
from typing import Any

from raysweep.attacks import Attacks
from raysweep.errors import SpaceError
from raysweep.records.conditions import parse_constraints
from raysweep.records.objectives import Objectives, is_of_membership
from raysweep.records.priors import columns_at, figures_at, is_at_prior, prior_of
from raysweep.records.trial_config import TrialConfig


def parse_objectives(given: Any, config: TrialConfig, constraints: Any = None) -> Objectives:
    """Return the objectives that a space names; by default all that its attacks measure.

    ``constraints`` are what the space asks of a trial on the front.

    Raises:
        SpaceError: an unknown objective, or one that no configured attack measures.

    """
    chosen = _default(config.attacks) if given is None else Objectives.parse(given)
    for name in chosen.names:
        remedy = _what_measures(name, config)
        if remedy:
            rule = f"objective {name!r} needs an attack that measures it: {remedy}"
            raise SpaceError(rule, place=("objectives", name))
    own = columns_at(config.attacks.prior)
    return dataclasses.replace(chosen, constraints=parse_constraints(constraints, own))


def _what_measures(name: str, config: TrialConfig) -> str:
    """Return what a space lacks that would measure an objective, "" if it lacks nothing."""
    attacks, measure = config.attacks, config.measure
    if name == "inversion_mse":
        layered = any(layer for attack in attacks.inversion.values() for layer in attack.layers)
        return "" if layered else "name one under attacks.inversion"
    if not is_of_membership(name):
        return ""

    if not attacks.membership:
        return "name one under attacks.membership"
    if not attacks.counted:
        white_box = ", ".join(attacks.membership)
        return f"{white_box} is white-box: set attacks.attack_auc to count it"
    if is_at_prior(name) and name not in figures_at(attacks.prior):
        several = ", ".join(f"{prior:g}" for prior in (attacks.prior[0], prior_of(name)) if prior)
        return f"add its prior to the list attacks.prior, such as [{several}]"
    if name == "always_found" and measure is None:
        return "add `measure: {models: 16}`, of whose models it is a figure"
    if name == "advantage" and not attacks.with_threshold(of_recipe=measure is not None):
        return "none of attacks.membership sets a threshold of its own, as loss and rmia do"
    return ""


def _default(attacks: Attacks) -> Objectives:
    """Return accuracy, and the objective of each family of attacks that the space has."""
    names = {"attack_auc": attacks.membership, "inversion_mse": attacks.inversion}
    return Objectives.of("accuracy", *(name for name, family in names.items() if family))


def rung_objectives(objectives: Objectives, attacks: Attacks) -> Objectives:
    """Return the objectives that trials are compared in at a rung: those that are cheap to measure.

    Whatever membership figure counts at the end, a rung compares the tail of the losses, which
    needs no references. Reconstruction error is one of them only if it is that of layer ``output``
    (black-box).
    """
    skipped = set() if attacks.inversion_mse == "output" else {"inversion_mse"}
    names = ("tail" if is_of_membership(name) else name for name in objectives.names)
    return Objectives.of(*(name for name in dict.fromkeys(names) if name not in skipped))
