"""One configuration out of many: the best that obeys some conditions, or the nearest to them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError, StoreError
from raysweep.records.fronts import OBJECTIVES, comparable, eligible
from raysweep.records.results import records
from raysweep.records.tables import numeric


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


OPERATORS: dict[str, Callable[[Any, float], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}

FORM = re.compile(
    r"\s*([A-Za-z_]\w*)\s*(>=|<=|==|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf)\s*"
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """``column`` compared with ``bound``; a missing figure never fits."""

    column: str
    sign: str
    bound: float

    def fits(self, trials: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows obey it, (n,)."""
        found: NDArray[np.bool_] = OPERATORS[self.sign](_numbers(trials[self.column]), self.bound)
        return found

    def miss(self, trials: pd.DataFrame) -> NDArray[np.float64]:
        """Return how far each row is from obeying it, 0 where it does, as a share of the bound."""
        with np.errstate(invalid="ignore"):  # inf - inf
            gaps = np.abs(_numbers(trials[self.column]) - self.bound)
        shares = np.nan_to_num(gaps, nan=np.inf) / max(abs(self.bound), 1e-12)
        return np.where(self.fits(trials), 0.0, shares)

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.bound:g}"


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def condition(text: str, columns: list[str]) -> Condition:
    """Return the condition that ``text`` writes; raise :class:`SpaceError` naming what is wrong.

    >>> str(condition("accuracy>=.9", ["accuracy"]))
    'accuracy >= 0.9'
    """
    found = FORM.fullmatch(text)
    if found is None:
        form = "write COLUMN >= NUMBER with one of >= <= > < =="
        raise SpaceError(f"--where {text!r} is no condition: {form}, such as 'accuracy >= 0.9'")
    column, sign, bound = found.groups()
    if column not in columns:
        raise SpaceError(
            f"--where {text!r}: unknown column {column!r}{suggestion(column, columns)}"
        )
    return Condition(column=column, sign=sign, bound=float(bound))
