"""One configuration out of many: the best that obeys some conditions, or the nearest to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from raysweep.blocks import OBJECTIVES
from raysweep.conditions import condition
from raysweep.errors import SpaceError, StoreError
from raysweep.registry import suggestion
from raysweep.results import comparable, eligible, records


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A row of ``trials``, and whether it obeys every condition or is only the nearest."""

    row: dict[str, Any]
    fits: bool


def choose(
    trials: pd.DataFrame, objectives: Mapping[str, str], where: Sequence[str], by: str
) -> Choice:
    """Return the trial that is best ``by`` a figure among those that obey every ``where``.

    Collapsed trials and attacks that did not converge are never chosen.

    Raises:
        SpaceError: a condition or ``by`` does not read, or names no figure.
        StoreError: no trial may be chosen at all.

    """
    numeric = [str(c) for c in trials.select_dtypes("number").columns]
    if by not in OBJECTIVES:
        raise SpaceError(f"--by {by!r} is no objective{suggestion(by, OBJECTIVES)}")
    conditions = [condition(text, numeric) for text in where]
    fit = trials[eligible(trials, objectives) & trials[by].notna()]
    if fit.empty:
        raise StoreError("no trial can be chosen: all failed, collapsed or did not converge")
    rows = records(fit)
    figures = comparable(fit, {by: OBJECTIVES[by]})[by].tolist()
    sign = -1.0 if OBJECTIVES[by] == "max" else 1.0
    rank = {row["trial_id"]: sign * figure for row, figure in zip(rows, figures, strict=True)}
    obeying = [row for row in rows if all(c.fits(row) for c in conditions)]
    if obeying:
        return Choice(
            row=min(obeying, key=lambda row: (rank[row["trial_id"]], -row["accuracy"])), fits=True
        )
    nearest = min(
        rows, key=lambda row: (sum(c.miss(row) for c in conditions), rank[row["trial_id"]])
    )
    return Choice(row=nearest, fits=False)
