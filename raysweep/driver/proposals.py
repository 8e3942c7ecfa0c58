"""What to try next: Optuna proposes, the records answer. The only door to Optuna.

The study is rebuilt from the records whenever a sweep is opened, so it can be thrown away. The
proposals of random, qmc and grid are functions of (seed, number) alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from raysweep.config import restore, sub_seed
from raysweep.driver.designs import DESIGNS, _design
from raysweep.driver.study import (
    MAX_REPEATS,
    _constraints,
    _distributions,
    _encoded,
    _is_pruned,
    _study,
    _suggested,
    _values,
    _worth_learning,
)
from raysweep.records.columns import BASELINE
from raysweep.records.results import kept, records
from raysweep.records.trial_config import TrialConfig, setting
from raysweep.space.axes import grid
from raysweep.space.space import Space

LARGEST_GRID = 100_000

LARGEST_STUDY = 500
"""How many records a study begins with: the latest half, and the best of the others. At twice as
many it is begun anew, so that asking and remembering cost the same however long a sweep is. A
journal (3 ms a record) is kept only until then; `raysweep dashboard` reads the records."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A configuration to run; the baseline comes first, then scenarios."""

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
            proposal = Proposal(number=BASELINE, config=baseline, trial_id=baseline.trial_id)
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
        worth = _worth_learning(told, self._space.objectives.directions, self._largest)
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
        config = restore(json.loads(str(row["config"])))
        params: dict[str, Any] = {}
        for key, axis in self._space.axes.items():
            value = setting(config, key)
            params |= _encoded(key, axis, value) if axis.holds(value) else {}
        distributions = _distributions(self._space.axes)
        constraints = _constraints(row, self._space.objectives)
        constraint = {f"constraints:{name}": v for name, v in constraints.items()}
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
            for name, value in _constraints(row, self._space.objectives).items():
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
