"""Conditions on a record, such as ``accuracy >= 0.9``: parsed, never evaluated as code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raysweep.errors import SpaceError
from raysweep.registry import suggestion

OPERATORS: dict[str, Callable[[float, float], bool]] = {
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

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Return whether ``row`` obeys it."""
        value = row[self.column]
        return value is not None and OPERATORS[self.sign](float(value), self.bound)

    def miss(self, row: Mapping[str, Any]) -> float:
        """Return how far ``row`` is from obeying it, 0 when it does, as a share of the bound."""
        if self.fits(row):
            return 0.0
        value = row[self.column]
        gap = float("inf") if value is None else abs(float(value) - self.bound)
        return gap / max(abs(self.bound), 1e-12) if gap == gap else float("inf")

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.bound:g}"


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
