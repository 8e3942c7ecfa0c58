"""Read the trials that a report is made from, and select those that it lists and draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from raysweep.config.own_class import is_own_key
from raysweep.config.plain_text import counted
from raysweep.records.accuracy import accuracy_interval
from raysweep.records.columns import BASELINE
from raysweep.records.conditions import Condition, joined, meeting
from raysweep.records.confirmed import read_confirmed
from raysweep.records.objectives import Objectives
from raysweep.records.pareto import leading
from raysweep.records.results import Results, records
from raysweep.records.seeds import average_seeds
from raysweep.records.standing import Standing, standing
from raysweep.records.tables import SCHEMAS
from raysweep.records.trial_config import varied_keys
from raysweep.report import findings
from raysweep.report.findings import Row

MOST_DRAWN = 2000  # trials in a figure

MOST_ROWS = 40  # of the table of the front

MOST_KEYS = 3  # that name an undefended trial among those of several sweeps


@dataclass(frozen=True, kw_only=True)
class Material:
    """The trials that a page is made from: some columns of all trials, all columns of the picks."""

    results: Results
    trials: pd.DataFrame
    selected: pd.DataFrame  # those that meet the conditions, one row for all seeds of a recipe
    where: tuple[Condition, ...]
    everything: bool  # whether a trial may miss the requirements of a front
    stand: Standing
    shown: pd.DataFrame  # the rows of the front that the table lists
    confirmed: pd.DataFrame | None  # what was claimed beside what was confirmed, if it was
    picks: dict[str, Row]
    configs: dict[str, str]  # trial_id -> JSON, of the rows of the table and of the picks

    @property
    def settings(self) -> list[str]:
        """The keys that vary in the search spaces or differ between them."""
        return settings(self.results)

    @property
    def front(self) -> pd.DataFrame:
        """The rows of the front."""
        return self.stand.front

    @property
    def picked(self) -> set[str]:
        """The ids of the trials that the page names."""
        return {str(row["trial_id"]) for row in self.picks.values()}

    @property
    def eligible(self) -> pd.Series[bool]:
        """Which of the selected trials may stand on the front."""
        return self.objectives.eligible(self.selected, everything=self.everything)

    @property
    def objectives(self) -> Objectives:
        """The objectives of the sweeps."""
        return self.results.objectives


def gather(
    results: Results, *, where: Sequence[Condition] = (), everything: bool = False
) -> Material:
    """Read the trials that the page needs, once, and select those that it shows.

    Trials that miss a condition of ``where`` are not shown. With ``everything`` collapsed models
    and attacks that did not converge may stand on the front.
    """
    keys = settings(results)
    columns = [key for key in keys if key in SCHEMAS["trials"].names or is_own_key(key)]
    columns += [*results.at_priors, *(condition.column for condition in where)]
    trials = results.measured([*findings.COLUMNS, *columns])
    selected = meeting(average_seeds(trials), where)

    front = results.objectives.front(selected, everything=everything)
    shown = front
    if len(front) > MOST_ROWS:
        values = results.objectives.comparable(front)
        shown = front[leading(values, results.objectives.directions, MOST_ROWS)]

    stand = standing(
        results.objectives, selected, front, partial(results.of, "examples"), everything=everything
    )
    picks = findings.highlights(selected, stand, _homes(results, trials))
    ids = {*shown["trial_id"], *(row["trial_id"] for row in picks.values())}
    configs = results.rows(["config"], trials=ids)[["trial_id", "config"]]
    return Material(
        results=results,
        trials=trials,
        selected=selected,
        where=tuple(where),
        everything=everything,
        stand=stand,
        shown=shown.merge(configs, on="trial_id", how="left").fillna({"config": ""}),
        confirmed=_confirmed(results),
        picks=picks,
        configs=dict(zip(configs["trial_id"], configs["config"].fillna(""), strict=True)),
    )


def _confirmed(results: Results) -> pd.DataFrame | None:
    """Return the confirmations of all sweeps that have one; None without any."""
    found = [rows for store in results.stores if (rows := read_confirmed(store)) is not None]
    return pd.concat(found, ignore_index=True) if found else None


def statements(material: Material) -> Iterator[str]:
    """Yield what the reader asked to see only, or also, as sentences."""
    if material.where:
        n, of = len(material.selected), counted(material.trials["recipe"].nunique(), "trial")
        yield f"Only trials with {joined(material.where)} are shown: {n:,} of {of}."
    if material.everything:
        yield "Collapsed models and attacks that did not converge may stand on the front."


def settings(results: Results) -> list[str]:
    """Return the keys that vary in the search spaces, then those that differ between them."""
    keys = [key for document in results.documents for key in varied_keys(document)]
    return list(dict.fromkeys([*keys, *results.differing]))


def _homes(results: Results, trials: pd.DataFrame) -> dict[str, str]:
    """Return what sets the sweep of each undefended trial apart from the others; {} for one."""
    if len(results.stores) == 1:
        return {}
    ids = set(trials["trial_id"][trials["number"] == BASELINE])
    homes: dict[str, str] = {}
    for store in results.stores:
        for row in records(store.read("trials", ["trial_id", "config"], ids)):
            values = [
                f"{key} {value}"
                for key in results.differing
                if (value := findings.axis_values([row["config"] or ""], key)[0]) is not None
            ]
            homes.setdefault(row["trial_id"], ", ".join(values[:MOST_KEYS]) or store.path)
    return homes


def sample(material: Material) -> pd.DataFrame:
    """Return the trials that figures show: all eligible ones, or a sample of them and the front."""
    trials = material.selected
    on_front = trials["trial_id"].isin(material.front["trial_id"])
    values = trials[[name for name in material.objectives.names if name != "epsilon"]]
    eligible = material.eligible
    eligible &= np.isfinite(values.to_numpy(dtype=float)).all(axis=1)

    step = max(1, math.ceil(int(eligible.sum()) / MOST_DRAWN))  # one trial in so many is drawn
    chosen = np.cumsum(eligible) % step == 0
    chosen |= on_front | (trials["number"] == BASELINE)
    drawn: pd.DataFrame = trials.assign(on_front=on_front)[eligible & chosen]
    return drawn.reset_index(drop=True).assign(**_accuracy_ends(drawn))


def _accuracy_ends(drawn: pd.DataFrame) -> dict[str, list[float]]:
    """Return the ends of the accuracy's interval, NaN for trials whose interval is not drawn."""
    shown = drawn["on_front"] | (drawn["number"] == BASELINE)
    intervals = [
        accuracy_interval(row) if is_shown else None
        for row, is_shown in zip(records(drawn), shown, strict=True)
    ]
    return {
        "accuracy_low": [math.nan if i is None else i.low for i in intervals],
        "accuracy_high": [math.nan if i is None else i.high for i in intervals],
    }


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
