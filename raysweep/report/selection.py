"""Read the trials that a report is made from, and select those that it lists and draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raysweep.config.own_class import is_own_key
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import Objectives
from raysweep.records.pareto import leading
from raysweep.records.results import Results
from raysweep.records.tables import SCHEMAS
from raysweep.report import findings
from raysweep.report.findings import Row

MOST_DRAWN = 2000  # trials in a figure

MOST_ROWS = 40  # of the table of the front


@dataclass(frozen=True, kw_only=True)
class Material:
    """The trials that a page is made from: some columns of all trials, all columns of the picks."""

    results: Results
    trials: pd.DataFrame
    front: pd.DataFrame
    shown: pd.DataFrame  # the rows of the front that the table lists
    picks: dict[str, Row]

    @property
    def settings(self) -> list[str]:
        """The keys that vary in the search space."""
        return findings.settings(self.results.documents[0])

    @property
    def objectives(self) -> Objectives:
        """The objectives of the sweeps."""
        return self.results.objectives


def gather(results: Results) -> Material:
    """Read the trials that the page needs, once, and select those that it shows."""
    keys = findings.settings(results.documents[0])
    columns = [key for key in keys if key in SCHEMAS["trials"].names or is_own_key(key)]
    trials = results.compared([*findings.COLUMNS, *columns])

    front = results.objectives.front(trials)
    shown = front
    if len(front) > MOST_ROWS:
        values = results.objectives.comparable(front)
        shown = front[leading(values, results.objectives.directions, MOST_ROWS)]

    configs = results.rows(["config"], trials=set(shown["trial_id"]))[["trial_id", "config"]]
    return Material(
        results=results,
        trials=trials,
        front=front,
        shown=shown.merge(configs, on="trial_id", how="left").fillna({"config": ""}),
        picks=findings.highlights(trials, front, results.objectives),
    )


def sample(material: Material) -> pd.DataFrame:
    """Return the trials that figures show: all eligible ones, or a sample of them and the front."""
    trials = material.trials
    on_front = trials["trial_id"].isin(material.front["trial_id"])
    values = trials[[name for name in material.objectives.names if name != "epsilon"]]
    eligible = material.objectives.eligible(trials)
    eligible &= np.isfinite(values.to_numpy(dtype=float)).all(axis=1)

    step = max(1, math.ceil(int(eligible.sum()) / MOST_DRAWN))  # one trial in so many is drawn
    chosen = np.cumsum(eligible) % step == 0
    chosen |= on_front | (trials["number"] == BASELINE)
    drawn: pd.DataFrame = trials.assign(on_front=on_front)[eligible & chosen]
    return drawn.reset_index(drop=True)


def setting_values(material: Material, drawn: pd.DataFrame) -> Iterator[tuple[str, pd.Series[Any]]]:
    """Yield each setting that varied, with its value in each trial that is drawn."""
    keys = [key for key in (*material.settings, "scenario") if key != "seed"]
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
