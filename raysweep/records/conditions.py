"""Conditions on the columns of ``trials``, such as ``accuracy >= 0.9``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config.own_class import is_own_key
from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError
from raysweep.records.priors import PREFIX
from raysweep.records.tables import numeric_columns

if TYPE_CHECKING:  # it takes half a second to import, and a space only parses conditions
    import pandas as pd


def parse_conditions(
    texts: Sequence[str], axes: Sequence[str] = (), at_priors: Sequence[str] = ()
) -> list[Condition]:
    """Return the conditions in ``texts``, each on a column of ``trials`` that holds numbers.

    Among the ``axes`` of a sweep those of own defences have columns, too. ``at_priors`` are those
    of its several priors.

    Raises:
        SpaceError: a text is not a condition, or its column does not exist or holds no numbers.

    """
    columns = [*numeric_columns("trials"), *filter(is_own_key, axes), *at_priors]
    conditions = [parse_condition(text, columns) for text in texts]
    if "seed" in axes and any(condition.column == "seed" for condition in conditions):
        raise SpaceError(
            "--where cannot name `seed`: this sweep varies it, and its seeds are averaged",
            remedy="leave the condition out, or read one seed's trials in Python: "
            "raysweep.load(DIR).trials",
        )
    return conditions


def parse_constraints(given: object, at_priors: Sequence[str] = ()) -> tuple[Condition, ...]:
    """Return the conditions of a space's ``constraints``, a list of texts; none for None.

    ``at_priors`` are the columns of several priors of the space.

    Raises:
        SpaceError: it is no list of conditions on columns of ``trials`` that hold numbers.

    """
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise SpaceError(
            "`constraints` must be a list of conditions",
            got=given,
            remedy="write [accuracy >= 0.8]",
            place=["constraints"],
        )
    columns, found = [*numeric_columns("trials"), *at_priors], []
    for number in reversed(range(len(given))):  # where one is taken out, those before it stay
        try:
            found.append(parse_condition(given[number], columns, of="`constraints`:"))
        except SpaceError as error:
            raise error.under("constraints", number) from None
    return tuple(reversed(found))


OPERATORS: dict[str, Callable[[Any, float], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}

SYNTAX = re.compile(
    r"\s*([A-Za-z_]\w*(?:\.\d+)?\w*|[A-Za-z_][\w.]*:\w+(?:\.\w+)?)"
    r"\s*(>=|<=|==|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf)\s*"
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A comparison of ``column`` with ``bound``; a missing value never meets it."""

    column: str
    sign: str
    bound: float

    def fits(self, trials: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which rows meet the condition, (n,)."""
        values = _as_floats(trials[self.column])
        fits: NDArray[np.bool_] = OPERATORS[self.sign](values, self.bound)
        return fits

    def violation(self, value: float | None) -> float:
        """Return a number above 0 if a value misses the condition, and at most 0 if it meets it.

        Samplers learn from it. A missing value misses it by 1.
        """
        if value is None or np.isnan(value):
            return 1.0
        if self.sign == "==":
            return abs(value - self.bound)
        gap = self.bound - value if self.sign in (">=", ">") else value - self.bound
        return gap if self.sign in (">=", "<=") or gap != 0 else 1e-12

    def shortfall(self, trials: pd.DataFrame) -> NDArray[np.float64]:
        """Return how far each row is from meeting it, as a share of the bound; 0 if it does."""
        with np.errstate(invalid="ignore"):  # inf - inf
            gaps = np.abs(_as_floats(trials[self.column]) - self.bound)
        shares = np.nan_to_num(gaps, nan=np.inf) / max(abs(self.bound), 1e-12)
        return np.where(self.fits(trials), 0.0, shares)

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {repr(self.bound).removesuffix('.0')}"


def joined(conditions: Sequence[Condition]) -> str:
    """Return conditions as a sentence names them."""
    return " and ".join(map(str, conditions))


def _as_floats(column: pd.Series[Any]) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def column_name(name: str) -> str:
    """Return the column of a figure whose name may hold a rate as it is written.

    >>> column_name("tpr_at_fpr_0.001")
    'tpr_at_fpr_0_001'
    >>> column_name("ppv_at_prior_0.1_high")
    'ppv_at_prior_0_1_high'
    """
    return name.replace(".", "_") if name.startswith(("tpr_at_fpr_", PREFIX)) else name


def parse_condition(text: str, columns: list[str], *, of: str = "--where") -> Condition:
    """Return the condition in ``text``; raise :class:`SpaceError` if it is not one.

    ``of`` begins the messages: where the text stands.

    >>> str(parse_condition("accuracy>=.9", ["accuracy"]))
    'accuracy >= 0.9'
    """
    match = SYNTAX.fullmatch(text)
    if match is None:
        raise SpaceError(
            f"{of} {text!r} is not a condition",
            remedy="write COLUMN >= NUMBER with one of >= <= > < ==, such as 'accuracy >= 0.9'",
        )
    column, sign, bound = match.groups()
    column = column_name(column)
    if column not in columns:
        raise SpaceError(f"{of} {text!r}: unknown column {column!r}{suggestion(column, columns)}")
    return Condition(column=column, sign=sign, bound=float(bound))


def meeting(trials: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """Return the rows that meet every condition."""
    for condition in conditions:
        trials = trials[condition.fits(trials)]
    return trials
