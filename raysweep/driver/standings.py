"""Decide which trials go on after a rung, by comparing each with those that reached it before.

The standings are rebuilt from the records, so that a continued sweep compares with all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from raysweep.records.columns import EpochRecord
from raysweep.records.pareto import leading
from raysweep.records.results import records
from raysweep.space.objectives import rung_objectives
from raysweep.space.settings import Pruning
from raysweep.space.space import Space


class Standings:
    """The figures measured at each rung so far. They decide whether the next trial goes on.

    ``epochs`` is the table of that name, with the rows of finished trials only.
    """

    def __init__(self, space: Space, pruning: Pruning, epochs: pd.DataFrame) -> None:
        self._pruning = pruning
        self._objectives = rung_objectives(space.objectives, space.config().attacks)
        self._seen: dict[int, dict[str, list[float]]] = {epoch: {} for epoch in space.rungs()}
        for row in records(epochs[epochs["epoch"].isin(self._seen)]):
            self._seen[row["epoch"]][row["trial_id"]] = self._values(row)

    def goes_on(self, figures: EpochRecord) -> bool:
        """Return whether a trial goes on after a rung, and keep its figures there.

        A trial that reaches the rung again, because its worker died later, goes on again.
        """
        seen = self._seen[figures.epoch]
        if figures.trial_id in seen:
            return True

        seen[figures.trial_id] = self._values(dataclasses.asdict(figures))
        n = self._pruning.quota(len(seen))
        leads = leading(np.array(list(seen.values())), self._objectives.directions, n)
        return bool(leads[-1])

    def _values(self, row: Mapping[str, Any]) -> list[float]:
        """Return the objectives as dominance compares them; NaN for a collapsed model."""
        if row["collapsed"]:
            return [np.nan] * len(self._objectives.names)
        values: list[float] = self._objectives.comparable(row).tolist()
        return values
