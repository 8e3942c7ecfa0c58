"""Propose configurations: the baseline, then the scenarios, then those of the sampler.

No state is stored. Whenever a sweep begins or continues, proposals are rebuilt from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from raysweep.driver.designs import DESIGNS, Design
from raysweep.driver.study import LARGEST_STUDY, Search
from raysweep.records.results import records, short_record
from raysweep.records.trial_config import TrialConfig
from raysweep.space.space import Space


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A configuration to run. Number 0 is the undefended baseline, then come the scenarios."""

    number: int
    config: TrialConfig
    scenario: str | None = None


class Source(Protocol):
    """A sampler that proposes new configurations: a :class:`Design` or a :class:`Search`."""

    def next(self, is_new: Callable[[str], bool]) -> tuple[int, TrialConfig] | None:
        """Return a configuration that is new and its number; None when none is left."""

    def learn(self, row: Mapping[str, Any]) -> None:
        """Learn from the record of a trial."""

    def drop(self, trial_id: str) -> None:
        """Give up a proposal whose trial was stopped."""


class Proposals:
    """Proposes configurations that have no record yet, and holds the records of the sweep.

    ``records`` maps each trial id to the columns that fronts, counts and studies need. It is the
    driver's only copy. ``trials`` are the records at the start.
    """

    def __init__(
        self,
        space: Space,
        trials: pd.DataFrame,
        *,
        journal: Path | None = None,
        largest: int = LARGEST_STUDY,
    ) -> None:
        self._space = space
        rows = records(trials)
        self.records = {row["trial_id"]: short_record(row, space.objectives) for row in rows}
        self.is_exhausted = False
        self._proposed: set[str] = set()
        self._retries: list[Proposal] = []

        named = [(name, space.config(values)) for name, values in space.scenario_points()]
        self._scenarios = {config.trial_id: name for name, config in reversed(named)}
        first = [space.baseline(), *(config for _, config in named)]
        self._first = enumerate(first)

        seed = space.seed if space.sampler.seed is None else space.sampler.seed
        self.source: Source
        if space.sampler.name in DESIGNS:
            self.source = Design(space, seed, n_before=len(named))
        else:
            self.source = Search(
                space,
                rows,
                seed=seed,
                records=self.records,
                n_before=max([len(named), *(row["number"] for row in rows)]),
                journal=journal,
                largest=largest,
            )

    def retry(self, rows: list[dict[str, Any]]) -> None:
        """Propose the configurations of ``rows`` again, before anything new."""
        for row in rows:
            config = TrialConfig.from_json(row["config"])
            self._retries.append(self._proposal(int(row["number"]), config))

    def next(self) -> Proposal | None:
        """Return a configuration to run, None when the space holds no other."""
        if self._retries:
            proposal = self._retries.pop(0)
        else:
            numbered = self._next_first() or self.source.next(self._is_new)
            if numbered is None:
                self.is_exhausted = True
                return None
            proposal = self._proposal(*numbered)

        self._proposed.add(proposal.config.trial_id)
        return proposal

    def _next_first(self) -> tuple[int, TrialConfig] | None:
        """Return the baseline or the next scenario that is new, with its number."""
        return next((pair for pair in self._first if self._is_new(pair[1].trial_id)), None)

    def _is_new(self, trial_id: str) -> bool:
        return trial_id not in self.records and trial_id not in self._proposed

    def _proposal(self, number: int, config: TrialConfig) -> Proposal:
        scenario = self._scenarios.get(config.trial_id)
        return Proposal(number=number, config=config, scenario=scenario)

    def learn(self, row: Mapping[str, Any]) -> None:
        """Keep the record of a trial and let the sampler learn from it."""
        trial_id = str(row["trial_id"])
        self.records[trial_id] = short_record(row, self._space.objectives)
        self._proposed.discard(trial_id)
        self.source.learn(row)

    def drop(self, trial_id: str) -> None:
        """Give up a proposal whose trial was stopped; a later run may propose it again."""
        self.source.drop(trial_id)

    def limit(self, total: int) -> int:
        """Return ``total`` or, once no other configuration is left, how many there are."""
        distinct = self.records.keys() | self._proposed
        return min(total, len(distinct)) if self.is_exhausted else total
