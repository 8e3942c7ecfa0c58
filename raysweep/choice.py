"""One configuration out of many: the best that obeys some conditions, or the nearest to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raysweep.blocks import OBJECTIVES
from raysweep.conditions import Condition, condition
from raysweep.errors import SpaceError, StoreError
from raysweep.registry import suggestion
from raysweep.results import comparable, eligible, records
from raysweep.store import numeric


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
    if by not in OBJECTIVES:
        raise SpaceError(f"--by {by!r} is no objective{suggestion(by, OBJECTIVES)}")
    asked = conditions(where)
    fit = trials[eligible(trials, objectives) & trials[by].notna()]
    if fit.empty:
        raise StoreError("no trial can be chosen: all failed, collapsed or did not converge")
    figures = comparable(fit, {by: OBJECTIVES[by]})[by].to_numpy()
    losses = -figures if OBJECTIVES[by] == "max" else figures
    obeys, missed = np.ones(len(fit), dtype=bool), np.zeros(len(fit))
    for one in asked:
        obeys &= one.fits(fit)
        missed += one.miss(fit)
    best = np.lexsort((-fit["accuracy"].to_numpy(), losses, missed, ~obeys))[0]
    return Choice(row=records(fit.iloc[[best]])[0], fits=bool(obeys[best]))


def conditions(where: Sequence[str]) -> list[Condition]:
    """Return the conditions that the texts write, each on a column of ``trials`` with numbers."""
    columns = numeric("trials")
    return [condition(text, columns) for text in where]
