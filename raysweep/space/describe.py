"""Describe a space, and what a space may name, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysweep import defences, models
from raysweep.attacks import INVERSION, MEMBERSHIP
from raysweep.config.plain_text import counted
from raysweep.config.registry import fields
from raysweep.data.sources import SOURCES
from raysweep.space.settings import SAMPLERS
from raysweep.space.space import Space

MOST_NAMED = 20  # values of an axis, and scenarios, that are named in a terminal

YOUR_OWN = {
    "datasets": "package.module:function",
    "models": "package.module:function",
    "defences": "package.module:Class",
    "attacks": "package.module:Class",
}

NOTES = {
    "attacks": (
        "Attacks other than rmia and lira do not compare an example with models that did not\n"
        "train on it. The default ones find .03 - .09 less AUC than rmia without DP-SGD, and up\n"
        "to .02 less at epsilon 8 (measured in docs/benchmarks.md)."
    )
}


def describe(space: Space) -> dict[str, Any]:
    """Return what a sweep of ``space`` would do, as plain values."""
    axes = {
        key: axis.model_dump(by_alias=True, exclude_defaults=True)
        for key, axis in space.axes.items()
    }
    return {
        "name": space.name,
        "trials": space.to_plain()["sampler"]["trials"],
        "sampler": space.sampler.name,
        "grid_points": space.size() if space.axes else None,
        "axes": axes,
        "scenarios": [name for name, _ in space.scenario_points()],
        "rungs": list(space.rungs()),
        "training_with_dp_sgd": space.private_settings(),
        "objectives": space.objectives.to_plain(),
        "constraints": [str(condition) for condition in space.objectives.constraints],
    }


def to_text(description: Mapping[str, Any]) -> str:
    """Return a description as lines for a terminal."""
    points = description["grid_points"]
    grid = "" if points is None else f", {counted(points, 'grid point')}"
    lines = [f"{_number(description['trials'])} by {description['sampler']}{grid}"]
    lines += [f"  {key}: {_axis_text(axis)}" for key, axis in description["axes"].items()]

    scenarios = description["scenarios"]
    if scenarios:
        names = _list_text(list(dict.fromkeys(scenarios)))
        lines.append(f"  scenarios: {names} ({counted(len(scenarios), 'trial')})")
    if description["rungs"]:
        lines.append(f"  pruning after epochs {', '.join(map(str, description['rungs']))}")
    if description["training_with_dp_sgd"]:
        lines.append(f"  training with DP-SGD: {description['training_with_dp_sgd']}")
    goals = ", ".join(f"{name} {goal}" for name, goal in description["objectives"].items())
    lines.append(f"  objectives: {goals}")
    if description["constraints"]:
        lines.append(f"  constraints: {', '.join(description['constraints'])}")
    return "\n".join(lines)


def _number(trials: Any) -> str:
    """Return a fixed number of trials, or the law of a random one, in words."""
    if not isinstance(trials, dict):
        return counted(trials, "trial")
    law = f"of a {trials['distribution']} law, mean {trials['mean']:g}"
    return f"one winner, chosen privately from a random number of trials {law},"


def _axis_text(axis: Mapping[str, Any]) -> str:
    """Return an axis as text: {low: 1, high: 2}."""
    parts = {**axis, "values": f"[{_list_text(axis['values'])}]"} if "values" in axis else axis
    return "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}"


def _list_text(items: Sequence[Any]) -> str:
    """Return the first of many items as text, and how many there are."""
    text = ", ".join(str(item) for item in items[:MOST_NAMED])
    return text if len(items) <= MOST_NAMED else f"{text} ... {len(items):,} in all"


def catalogue(what: str) -> dict[str, str]:
    """Return name -> one line for all that a space may name.

    ``what`` is ``datasets``, ``models``, ``defences``, ``attacks`` or ``samplers``.
    """
    if what == "defences":
        neutral = defences.neutral()
        texts = defences.descriptions().items()
        lines = {key: f"{text} (neutral: {neutral[key]})" for key, text in texts}
        return lines | {YOUR_OWN[what]: "your own"}
    if what == "samplers":
        return dict(SAMPLERS)

    kinds: dict[str, Mapping[str, type[Any]]] = {
        "datasets": SOURCES,
        "models": models.MODELS,
        "attacks": {**MEMBERSHIP, **INVERSION},
    }
    lines = {name: _first_line(kind) for name, kind in kinds[what].items()}
    return lines | {YOUR_OWN[what]: "your own"}


def catalogue_text(what: str) -> str:
    """Return :func:`catalogue` as lines for a terminal, and what there is to say of all of them."""
    lines = catalogue(what)
    width = max(map(len, lines))
    text = "".join(f"{name:{width}}  {line}\n" for name, line in lines.items())
    return text + (f"\n{NOTES[what]}\n" if what in NOTES else "")


def _first_line(kind: type[Any]) -> str:
    """Return the first line of a class' docstring, and the names of its parameters."""
    names = ", ".join(fields(kind))
    return (kind.__doc__ or "").strip().splitlines()[0] + (f" [{names}]" if names else "")
