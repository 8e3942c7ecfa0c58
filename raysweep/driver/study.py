"""The samplers that learn from records, as an Optuna study. Only this module imports Optuna."""

from __future__ import annotations

import contextlib
import itertools
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
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

from raysweep.config import from_plain, sub_seed
from raysweep.driver.counting import LARGEST_RANGE, combinations, finite_values, n_combinations
from raysweep.driver.designs import first_new, most_repeats, points
from raysweep.records.objectives import Objectives
from raysweep.records.pareto import leading
from raysweep.records.trial_config import TrialConfig, setting
from raysweep.space.axes import Axis
from raysweep.space.space import Space

MOST_ASKED = 100
"""How often in a row a sampler may repeat itself before proposals are drawn at random."""

LARGEST = 1e6
"""The number that stands for infinity in an objective, worse than any epsilon that says much."""

LARGEST_STUDY = 500
"""The most records that a study begins with. Half are the latest, half the best of the others.

When a study has twice as many, a new one begins, so that a proposal takes the same time however
long a sweep is. A journal takes 3 ms a record and is kept only until then. `raysweep dashboard`
reads the records instead.
"""


class Search:
    """Proposes configurations by an Optuna study that learns from the records.

    ``rows`` are the whole records at the start. ``records`` maps the trial ids of the sweep to
    short records, and the caller keeps it up to date. The first proposal has number
    ``n_before`` + 1.
    """

    def __init__(
        self,
        space: Space,
        rows: Sequence[Mapping[str, Any]],
        *,
        seed: int,
        records: Mapping[str, Mapping[str, Any]],
        n_before: int,
        journal: Path | None = None,
        largest: int = LARGEST_STUDY,
    ) -> None:
        self._space, self._seed, self._largest = space, seed, largest
        self._records = records
        self._number = n_before
        self._asked: dict[str, optuna.Trial] = {}
        self._draws = points(space, seed)
        finished = [self._as_trial(row) for row in rows if self._is_informative(row)]
        self._begin(finished, journal if len(rows) <= largest else None)

    def _begin(self, finished: list[FrozenTrial], journal: Path | None = None) -> None:
        """Begin a study that learns from the best and the latest of ``finished``, oldest first."""
        seed = sub_seed(self._seed, "sampler", len(finished)) % 2**32
        self.study = _study(self._space, seed, journal)
        chosen = _most_useful(finished, self._space.objectives.directions, self._largest)
        self.study.add_trials(chosen)
        self._n_learnt = len(chosen)

    def next(self, is_new: Callable[[str], bool]) -> tuple[int, TrialConfig] | None:
        """Return a configuration that is new and its number; None when none is left."""
        for _ in range(MOST_ASKED):
            asked = self.study.ask()
            config = self._space.config(_suggest(asked, self._space))
            if is_new(config.trial_id):
                self._asked[config.trial_id] = asked
                break
            self._answer(asked, self._records.get(config.trial_id))
        else:
            unseen = self._first_unseen(is_new)
            if unseen is None:
                return None
            config = unseen

        self._number += 1
        return self._number, config

    def _first_unseen(self, is_new: Callable[[str], bool]) -> TrialConfig | None:
        """Return a new configuration: the first of a small finite space, or one at random."""
        values = finite_values(self._space)
        is_small = values is not None and n_combinations(values) <= LARGEST_RANGE
        if values is not None and is_small:
            return first_new(self._space, combinations(values), is_new)
        draws = itertools.islice(self._draws, most_repeats(len(self._records)))
        return first_new(self._space, draws, is_new)

    def learn(self, row: Mapping[str, Any]) -> None:
        """Learn from the record of a trial, whether or not this study proposed it."""
        asked = self._asked.pop(str(row["trial_id"]), None)
        if asked is not None:
            self._answer(asked, row)
        elif self._is_informative(row):
            self.study.add_trial(self._as_trial(row))
            self._count()

    def drop(self, trial_id: str) -> None:
        """Give up a proposal whose trial was stopped."""
        asked = self._asked.pop(trial_id, None)
        if asked is not None:
            self.study.tell(asked, state=TrialState.FAIL)

    def _answer(self, asked: optuna.Trial, row: Mapping[str, Any] | None) -> None:
        """End a trial of the study with the figures of its record, or as failed without them."""
        if row is None or not self._is_informative(row):
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            asked.set_user_attr("trial_id", row["trial_id"])
            for name, value in _constraints(row, self._space.objectives).items():
                asked.set_constraint(name, value)
            values = _values(row, self._space.objectives)
            self.study.tell(asked, values, state=TrialState.PRUNED if values is None else None)
        self._count()

    def _count(self) -> None:
        """Count a trial that ended, and begin a new study when there are too many."""
        self._n_learnt += 1
        if self._n_learnt >= 2 * self._largest:
            trials = self.study.get_trials(deepcopy=False)
            self._begin([trial for trial in trials if trial.state.is_finished()])
            self._asked.clear()  # the new study learns from them as from any other record

    def _is_informative(self, row: Mapping[str, Any]) -> bool:
        """Return whether a record has figures or was pruned, and lies on the axes."""
        settings = self._space.scenarios.get(str(row.get("scenario")), {})
        if not settings.keys() <= self._space.axes.keys():
            return False
        return _is_pruned(row) or _values(row, self._space.objectives) is not None

    def _as_trial(self, row: Mapping[str, Any]) -> FrozenTrial:
        """Return a record as a finished Optuna trial."""
        config = from_plain(json.loads(str(row["config"])))
        params: dict[str, Any] = {}
        for key, axis in self._space.axes.items():
            value = setting(config, key)
            params |= _encode(key, axis, value) if axis.contains(value) else {}

        distributions = _distributions(self._space.axes)
        constraints = _constraints(row, self._space.objectives)
        return optuna.create_trial(
            state=TrialState.PRUNED if _is_pruned(row) else TrialState.COMPLETE,
            params=params,
            distributions={key: distributions[key] for key in params},
            values=_values(row, self._space.objectives),
            system_attrs={f"constraints:{name}": v for name, v in constraints.items()},
            user_attrs={"trial_id": row["trial_id"]},
        )


def _most_useful(trials: list[FrozenTrial], directions: Sequence[str], n: int) -> list[FrozenTrial]:
    """Return at most ``n`` trials in their order: the latest half, and the best of the others."""
    if len(trials) <= n:
        return trials

    split = len(trials) - n // 2
    old, new = trials[:split], trials[split:]
    none = [np.nan] * len(directions)
    values = [t.values if t.state == TrialState.COMPLETE else none for t in old]
    best = leading(values, directions, n - len(new))
    return [*itertools.compress(old, best), *new]


def _study(space: Space, seed: int, journal: Path | None) -> optuna.Study:
    """Return an empty study; with ``journal``, optuna-dashboard can show it while it runs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: optuna.storages.BaseStorage = optuna.storages.InMemoryStorage()
    if journal is not None:
        from optuna.storages.journal import JournalFileBackend

        with contextlib.suppress(OSError):  # then there is no live dashboard
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
    """Return the sampler of a space, or a random one for a study that is only shown."""
    population = max(4, min(50, space.sampler.n_recorded // 4))
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
    """Return each axis as Optuna's range or labels.

    ``key.on`` is False when the axis takes its ``or`` value in place of the range.
    """
    distributions: dict[str, BaseDistribution] = {}
    for key, axis in axes.items():
        choices = axis.choices()
        if choices is not None:
            distributions[key] = CategoricalDistribution([_label(value) for value in choices])
            continue
        if axis.otherwise is not None:
            distributions[f"{key}.on"] = CategoricalDistribution([True, False])
        low, high = float(axis.low or 0), float(axis.high or 0)
        distributions[key] = FloatDistribution(low, high, log=axis.log)
    return distributions


def _label(value: Any) -> CategoricalChoiceType:
    """Return a value as Optuna can store it: lists and mappings as JSON."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _encode(key: str, axis: Axis, value: Any) -> dict[str, Any]:
    """Return a value as Optuna's parameters."""
    if axis.choices() is not None:
        return {key: _label(value)}
    if axis.otherwise is None:
        return {key: value}
    if value == axis.otherwise:
        return {f"{key}.on": False}
    return {f"{key}.on": True, key: value}


def _suggest(asked: optuna.Trial, space: Space) -> dict[str, Any]:
    """Return the values of all axes; a range is suggested only without its ``or`` value.

    A Gaussian process learns only from parameters that every trial has, so for it all ranges are
    suggested.
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
            span = distributions[key]
            assert isinstance(span, FloatDistribution)
            values[key] = asked.suggest_float(key, span.low, span.high, log=span.log)
        if not on:
            values[key] = axis.otherwise
    return values


def _values(row: Mapping[str, Any], objectives: Objectives) -> list[float] | None:
    """Return the objectives as dominance compares them, None when one is missing.

    Samplers compute with them, so infinity (epsilon without DP-SGD) is the number LARGEST.
    """
    if row.get("status") != "ok":
        return None
    values = objectives.comparable(row)
    return None if np.isnan(values).any() else values.clip(-LARGEST, LARGEST).tolist()


def _is_pruned(row: Mapping[str, Any]) -> bool:
    """Return whether a trial was stopped at a rung, so that its figures are not comparable."""
    return row.get("status") == "pruned"


def _constraints(row: Mapping[str, Any], objectives: Objectives) -> dict[str, float]:
    """Return the reasons to keep a trial off the front as constraints; above 0 is infeasible."""
    found = {
        column: 1.0 if row.get(column) == (not value) else -1.0
        for column, value in objectives.requirements.items()
    }
    limits = {str(one): one.violation(row.get(one.column)) for one in objectives.constraints}
    return found | limits
