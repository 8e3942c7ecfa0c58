"""A results folder -> what a report is made from, read once: few columns of all, all of a few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raysweep.records.columns import BASELINE
from raysweep.records.objectives import Objectives
from raysweep.records.pareto import leading
from raysweep.records.results import Results
from raysweep.records.tables import SCHEMAS
from raysweep.report import findings
from raysweep.report.findings import Row

MOST_DRAWN = 2000

MOST_ROWS = 40


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the page is made from: narrow rows of all trials, whole rows of those it names."""

    results: Results
    trials: pd.DataFrame
    front: pd.DataFrame
    shown: pd.DataFrame  # the rows of the front that the table has
    picks: dict[str, Row]

    @property
    def settings(self) -> list[str]:
        """What varied."""
        return findings.settings(self.results.documents[0])

    @property
    def objectives(self) -> Objectives:
        """The objectives of the sweeps."""
        return self.results.objectives


def gather(results: Results) -> Material:
    """Return what the page needs of the trials, read once."""
    keys = findings.settings(results.documents[0])
    known = [key for key in keys if key in SCHEMAS["trials"].names]
    trials = results.compared([*findings.COLUMNS, *known])
    found = results.objectives.front(trials)
    shown = found
    if len(found) > MOST_ROWS:
        values = results.objectives.comparable(found)
        shown = found[leading(values, results.objectives.directions, MOST_ROWS)]
    configs = results.rows(["config"], trials=set(shown["trial_id"]))[["trial_id", "config"]]
    return Material(
        results=results,
        trials=trials,
        front=found,
        shown=shown.merge(configs, on="trial_id", how="left"),
        picks=findings.highlights(trials, found, results.objectives),
    )


def sample(material: Material) -> pd.DataFrame:
    """Return the trials that figures show: all that may stand on a front, or some and the front."""
    trials, objectives = material.trials, material.objectives.names
    ahead = trials["trial_id"].isin(material.front["trial_id"])
    figures_ = trials[[name for name in objectives if name != "epsilon"]]
    fit = material.objectives.eligible(trials)
    fit &= np.isfinite(figures_.to_numpy(dtype=float)).all(axis=1)
    kept = np.cumsum(fit) % -(-max(1, int(fit.sum())) // MOST_DRAWN) == 0
    kept |= ahead | (trials["number"] == BASELINE)
    drawn: pd.DataFrame = trials.assign(on_front=ahead)[fit & kept]
    return drawn.reset_index(drop=True)


def varied(material: Material, drawn: pd.DataFrame) -> Iterator[tuple[str, pd.Series[Any]]]:
    """Yield what varied, and what it was in each trial that is drawn."""
    keys = [axis for axis in (*material.settings, "scenario") if axis != "seed"]
    dotted = [key for key in keys if key not in drawn]
    if dotted:
        configs = material.results.rows(["config"], trials=set(drawn["trial_id"]))
        texts = drawn[["trial_id"]].merge(configs, on="trial_id", how="left")["config"]
    for key in keys:
        if key in drawn:
            yield key, drawn[key]
        else:
            values = findings.axis_values(texts.fillna("").tolist(), key)
            yield key, pd.Series(values, index=drawn.index).infer_objects()
