"""The Optuna study: its sampler, its distributions, what it is told."""

from __future__ import annotations

import contextlib
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raysweep.records.objectives import Objectives
from raysweep.records.pareto import leading
from raysweep.space.axes import Axis
from raysweep.space.space import Space

MAX_REPEATS = 100


def _worth_learning(
    told: list[FrozenTrial], directions: Sequence[str], n: int
) -> list[FrozenTrial]:
    """Return at most ``n`` of ``told``, in their order: the latest half, the best of the others."""
    if len(told) <= n:
        return told
    split = len(told) - n // 2
    old, new = told[:split], told[split:]
    none = [np.nan] * len(directions)
    values = [t.values if t.state == TrialState.COMPLETE else none for t in old]
    best = leading(values, directions, n - len(new))
    return [*itertools.compress(old, best), *new]


def _study(space: Space, seed: int, journal: Path | None) -> optuna.Study:
    """Return an empty study; ``journal`` lets optuna-dashboard watch one that learns."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: optuna.storages.BaseStorage = optuna.storages.InMemoryStorage()
    if journal is not None:
        from optuna.storages.journal import JournalFileBackend

        with contextlib.suppress(OSError):  # an unwritable cache costs the live dashboard alone
            journal.parent.mkdir(parents=True, exist_ok=True)
            for old in journal.parent.glob(f"{journal.name}*"):
                old.unlink()
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    directions = [maximize if d == "max" else minimize for d in space.objectives.directions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=storage,
            study_name=space.name,
            directions=directions,
            sampler=_sampler(space, seed),
        )
        study.set_metric_names(list(space.objectives.names))
    return study


def _sampler(space: Space, seed: int) -> optuna.samplers.BaseSampler:
    population = max(4, min(50, space.sampler.trials // 4))
    samplers = optuna.samplers
    if space.sampler.name == "tpe":
        return samplers.TPESampler(seed=seed)
    if space.sampler.name == "nsgaii":
        return samplers.NSGAIISampler(seed=seed, population_size=population)
    if space.sampler.name == "nsgaiii":
        return samplers.NSGAIIISampler(seed=seed, population_size=population)
    if space.sampler.name == "gp":
        return samplers.GPSampler(seed=seed)
    return samplers.RandomSampler(seed=seed)


def _distributions(axes: Mapping[str, Axis]) -> dict[str, BaseDistribution]:
    """Return Optuna's view: a range, or labels; ``key.on`` says whether a way out is not taken."""
    found: dict[str, BaseDistribution] = {}
    for key, axis in axes.items():
        choices = axis.choices()
        if choices is not None:
            found[key] = CategoricalDistribution([_label(value) for value in choices])
            continue
        if axis.otherwise is not None:
            found[f"{key}.on"] = CategoricalDistribution([True, False])
        low, high = float(axis.low or 0), float(axis.high or 0)
        found[key] = FloatDistribution(low, high, log=axis.log)
    return found


def _label(value: Any) -> CategoricalChoiceType:
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _encoded(key: str, axis: Axis, value: Any) -> dict[str, Any]:
    """Return a value as Optuna's parameters."""
    if axis.choices() is not None:
        return {key: _label(value)}
    if axis.otherwise is None:
        return {key: value}
    if value == axis.otherwise:
        return {f"{key}.on": False}
    return {f"{key}.on": True, key: value}


def _suggested(asked: optuna.Trial, space: Space) -> dict[str, Any]:
    """Return the values of all axes; a range is asked for only where its way out is not taken.

    A Gaussian process sees only what every trial has, so it is always asked for everything.
    """
    values: dict[str, Any] = {}
    always = space.sampler.name == "gp"
    distributions = _distributions(space.axes)
    for key, axis in space.axes.items():
        choices = axis.choices()
        if choices is not None:
            labels = [_label(value) for value in choices]
            values[key] = choices[labels.index(asked.suggest_categorical(key, labels))]
            continue
        on = axis.otherwise is None or asked.suggest_categorical(f"{key}.on", [True, False])
        if on or always:
            found = distributions[key]
            assert isinstance(found, FloatDistribution)
            values[key] = asked.suggest_float(key, found.low, found.high, log=found.log)
        if not on:
            values[key] = axis.otherwise
    return values


def _values(row: Mapping[str, Any], objectives: Objectives) -> list[float] | None:
    """Return the objectives as dominance sees them, or None when one is missing."""
    if row.get("status") != "ok":
        return None
    values: list[float] = objectives.comparable(row).tolist()
    return values if all(isfinite(value) for value in values) else None


def _is_pruned(row: Mapping[str, Any]) -> bool:
    """Return whether a trial was stopped at a rung: the study learns that, and no figures."""
    return row.get("status") == "pruned"


def _constraints(row: Mapping[str, Any], objectives: Objectives) -> dict[str, float]:
    """Return what keeps a trial off the front as constraints: above 0 is infeasible."""
    return {
        column: 1.0 if row.get(column) == (not value) else -1.0
        for column, value in objectives.requirements.items()
    }
