"""What to try next: Optuna proposes, the records answer. The only door to Optuna.

The study is rebuilt from the records whenever a sweep is opened, so it can be thrown away. The
proposals of random, qmc and grid are functions of (seed, number) alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from raysweep.axes import Axis, Value, grid
from raysweep.config import TrialConfig, sub_seed
from raysweep.errors import SpaceError
from raysweep.ranking import leading
from raysweep.results import comparable_row, kept, load, records
from raysweep.space import Space, parse_space

DESIGNS = ("random", "qmc", "grid")
MAX_REPEATS = 100
LARGEST_GRID = 100_000
LARGEST_STUDY = 500
"""How many records a study begins with: the latest half, and the best of the others. At twice as
many it is begun anew, so that asking and remembering cost the same however long a sweep is. A
journal (3 ms a record) is kept only until then; `raysweep dashboard` reads the records."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A configuration to run; ``number`` 0 is the undefended baseline, then come scenarios."""

    number: int
    config: TrialConfig
    trial_id: str
    scenario: str | None = None


class Proposals:
    """Proposes configurations that have no record yet and learns from those that have."""

    def __init__(
        self,
        space: Space,
        trials: pd.DataFrame,
        *,
        journal: Path | None = None,
        largest: int = LARGEST_STUDY,
    ) -> None:
        self._space, self._largest = space, largest
        self._seed = space.seed if space.sampler.seed is None else space.sampler.seed
        self._learns = space.sampler.name not in DESIGNS
        self._baseline = space.baseline()
        self._known: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, optuna.Trial] = {}
        self._queue: list[Proposal] = []
        self._design = _design(space, self._seed)
        named = list(space.named())
        self._named = enumerate((values for _, values in named), start=1)
        self._n_named = len(named)
        self._scenarios: dict[str, str] = {}
        for name, values in named:
            self._scenarios.setdefault(space.config(values).trial_id, name)
        numbers = trials["number"].tolist() if len(trials) else []
        self._number = max([len(named), *numbers])
        rows = records(trials)
        told = [self._told(row) for row in rows if self._answers(row)]
        live = self._learns and len(trials) <= largest
        self._study = self._begin(told, journal if live else None)
        self._known = {row["trial_id"]: kept(row, space.objectives) for row in rows}

    def retry(self, rows: list[dict[str, Any]]) -> None:
        """Propose again the configurations of ``rows``, before anything new."""
        for row in rows:
            self._known.pop(row["trial_id"], None)
            config = TrialConfig.from_json(row["config"])
            self._queue.append(
                Proposal(number=int(row["number"]), config=config, trial_id=row["trial_id"])
            )

    def next(self) -> Proposal | None:
        """Return a configuration that was never run, or None when the space holds no other."""
        if self._queue:
            return self._take(self._queue.pop(0), None)
        baseline = self._baseline
        if not self._seen(baseline.trial_id):
            proposal = Proposal(number=0, config=baseline, trial_id=baseline.trial_id)
            return self._take(proposal, None)
        named = self._next_of(self._named)
        if named is not None:
            return named
        if not self._learns:
            return self._next_of(self._design, after=self._n_named)
        for _ in range(MAX_REPEATS):
            asked = self._study.ask()
            config = self._space.config(_suggested(asked, self._space))
            if not self._seen(config.trial_id):
                self._number += 1
                proposal = Proposal(number=self._number, config=config, trial_id=config.trial_id)
                return self._take(proposal, asked)
            self._answer(asked, self._known.get(config.trial_id))
        return self._next_unseen()

    def tell(self, row: Mapping[str, Any]) -> None:
        """Learn from the record of a trial that :meth:`next` proposed; a design learns nothing."""
        trial_id = str(row["trial_id"])
        self._known[trial_id] = kept(row, self._space.objectives)
        asked = self._asked.pop(trial_id, None)
        if asked is not None:
            self._answer(asked, row)
        elif self._learns and self._answers(row):
            self._study.add_trial(self._told(row))
            self._count()

    def drop(self, trial_id: str) -> None:
        """Give up a proposal that was stopped; the next opening of the sweep may make it again."""
        asked = self._asked.pop(trial_id, None)
        if asked is not None:
            self._study.tell(asked, state=TrialState.FAIL)

    def _count(self) -> None:
        """Count a trial that ended; begin the study anew when there are too many."""
        self._learnt += 1
        if self._learnt >= 2 * self._largest:
            ended = [t for t in self._study.get_trials(deepcopy=False) if t.state.is_finished()]
            self._study = self._begin(ended, None)
            self._asked.clear()  # they are told as records are

    def _begin(self, told: list[FrozenTrial], journal: Path | None) -> optuna.Study:
        """Return a study that has learnt from what is worth it of ``told``, the oldest first."""
        study = _study(self._space, sub_seed(self._seed, "sampler", len(told)) % 2**32, journal)
        worth = _worth_learning(told, list(self._space.objectives.values()), self._largest)
        study.add_trials(worth)
        self._learnt = len(worth)
        return study

    def _take(self, proposal: Proposal, asked: optuna.Trial | None) -> Proposal:
        name = self._scenarios.get(proposal.trial_id)
        proposal = replace(proposal, scenario=name)
        self._known.setdefault(proposal.trial_id, {})
        if asked is not None:
            self._asked[proposal.trial_id] = asked
        return proposal

    def _seen(self, trial_id: str) -> bool:
        return trial_id in self._known

    def _next_of(
        self, points: Iterator[tuple[int, dict[str, Any]]], *, after: int = 0
    ) -> Proposal | None:
        """Return the first of ``points`` (number, values) that was never run, numbered on."""
        for number, values in points:
            config = self._space.config(values)
            if not self._seen(config.trial_id):
                own = after + number
                proposal = Proposal(number=own, config=config, trial_id=config.trial_id)
                return self._take(proposal, None)
        return None

    def _next_unseen(self) -> Proposal | None:
        """Return what a sampler that repeats itself misses: a finite space's rest, or by chance."""
        size = self._space.size()
        drawn = (values for _, values in self._design)
        few = size is not None and size <= LARGEST_GRID
        for values in grid(self._space.axes) if few else drawn:
            config = self._space.config(values)
            if not self._seen(config.trial_id):
                self._number += 1
                proposal = Proposal(number=self._number, config=config, trial_id=config.trial_id)
                return self._take(proposal, None)
        return None

    def _answers(self, row: Mapping[str, Any]) -> bool:
        """Return whether the study learns from a row: it says something, and lies on the axes."""
        settings = self._space.scenarios.get(str(row.get("scenario")), {})
        if not settings.keys() <= self._space.axes.keys():
            return False
        return _is_pruned(row) or _values(row, self._space.objectives) is not None

    def _told(self, row: Mapping[str, Any]) -> FrozenTrial:
        """Return a record as a finished Optuna trial."""
        config = TrialConfig.from_json(str(row["config"]))
        params: dict[str, Any] = {}
        for key, axis in self._space.axes.items():
            value = _value_of(config, key)
            params |= _encoded(key, axis, value) if axis.holds(value) else {}
        distributions = _distributions(self._space.axes)
        constraint = {f"constraints:{name}": v for name, v in _constraints(row).items()}
        return optuna.create_trial(
            state=TrialState.PRUNED if _is_pruned(row) else TrialState.COMPLETE,
            params=params,
            distributions={key: distributions[key] for key in params},
            values=_values(row, self._space.objectives),
            system_attrs=constraint,
            user_attrs={"trial_id": row["trial_id"]},
        )

    def _answer(self, asked: optuna.Trial, row: Mapping[str, Any] | None) -> None:
        if row is None or not self._answers(row):
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            asked.set_user_attr("trial_id", row["trial_id"])
            for name, value in _constraints(row).items():
                asked.set_constraint(name, value)
            values = _values(row, self._space.objectives)
            self._study.tell(asked, values, state=TrialState.PRUNED if values is None else None)
        self._count()


def expected(space: Space, asked: int) -> int:
    """Return how many records a sweep of ``asked`` trials ends with: at most a space's size."""
    size = space.size()
    if size is None or size > LARGEST_GRID or asked < size:
        return asked
    known = {space.baseline().trial_id}
    for values in itertools.chain((values for _, values in space.named()), grid(space.axes)):
        known.add(space.config(values).trial_id)
    return min(asked, len(known))


def _design(space: Space, seed: int) -> Iterator[tuple[int, dict[str, Value]]]:
    """Yield (number, values) of the samplers that learn nothing."""
    if space.sampler.name == "grid":
        yield from enumerate(grid(space.axes), start=1)
        return
    axes = space.axes
    if not axes:
        yield 1, {}
        return
    draw = _sobol(len(axes), seed) if space.sampler.name == "qmc" else _uniform(len(axes), seed)
    finite = space.size()
    limit = None if finite is None else 1000 * finite
    for number, point in zip(itertools.count(1), draw, strict=False):
        if limit is not None and number > limit:
            return
        yield number, {key: axis.at(u) for (key, axis), u in zip(axes.items(), point, strict=True)}


def _uniform(dimensions: int, seed: int) -> Iterator[list[float]]:
    for number in itertools.count(1):
        rng = np.random.default_rng(sub_seed(seed, "random", number))
        yield rng.random(dimensions).tolist()


def _sobol(dimensions: int, seed: int) -> Iterator[list[float]]:
    from scipy.stats.qmc import Sobol

    engine = Sobol(dimensions, scramble=True, rng=sub_seed(seed, "qmc") % 2**32)
    while True:
        yield engine.random(1)[0].tolist()


def _worth_learning(told: list[FrozenTrial], directions: list[str], n: int) -> list[FrozenTrial]:
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
    directions = [maximize if d == "max" else minimize for d in space.objectives.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=storage,
            study_name=space.name,
            directions=directions,
            sampler=_sampler(space, seed),
        )
        study.set_metric_names(list(space.objectives))
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


def _value_of(config: TrialConfig, key: str) -> Any:
    """Return what a configuration has on an axis, None where it was left to a default."""
    if key in config.defences:
        return config.defences[key]
    value: Any = json.loads(config.to_json())
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _values(row: Mapping[str, Any], objectives: Mapping[str, str]) -> list[float] | None:
    """Return the objectives as dominance sees them, or None when one is missing."""
    if row.get("status") != "ok":
        return None
    values = comparable_row(row, objectives)
    return values if all(isfinite(value) for value in values) else None


def _is_pruned(row: Mapping[str, Any]) -> bool:
    """Return whether a trial was stopped at a rung: the study learns that, and no figures."""
    return row.get("status") == "pruned"


def _constraints(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what keeps a trial off the front as constraints: above 0 is infeasible."""
    return {
        "collapsed": 1.0 if row.get("collapsed") else -1.0,
        "unconverged": 1.0 if row.get("inversion_converged") is False else -1.0,
    }


def serve_dashboard(folder: str, *, port: int) -> None:
    """Show the study of a results folder in optuna-dashboard, on this machine only.

    Raises:
        StoreError: no results folder.
        SpaceError: optuna-dashboard is not installed.

    """
    results = load(folder)
    try:
        from optuna_dashboard import run_server
    except ImportError:
        remedy = "pip install 'raysweep[dashboard]'"
        raise SpaceError(f"optuna-dashboard is not installed: {remedy}") from None
    space = parse_space(yaml.safe_dump(results.documents[0]), f"{folder}/space.yaml")
    trials = results.trials
    proposals = Proposals(space, trials, largest=max(1, len(trials)))
    print(f"http://127.0.0.1:{port}")
    run_server(proposals._study._storage, host="127.0.0.1", port=port)
