"""Conditions on a record, such as ``accuracy >= 0.9``: parsed, never evaluated as code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raysweep.errors import SpaceError
from raysweep.registry import suggestion

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
