"""A source for a user's own table: a .csv with a row for each example."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.config.registry import suggestion
from raysweep.data.examples import RawData, clipped, refuse_rounded, to_raw_data
from raysweep.data.user import Range, find_file
from raysweep.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (";", "\t", "|")  # that a table of one column may have in place of a comma


@dataclass(frozen=True, kw_only=True)
class Csv:
    """Your own table: ``path`` to a .csv with a row for each example and a column of classes.

    Classes are numbered in the sorted order of the values of the column ``label``. All columns but
    ``label``, ``group``, ``subgroup`` and ``leave_out`` are features, which must be numbers and are
    scaled by their range in the pool, or by the one that ``ranges`` states for a column.
    """

    path: Annotated[str, Field(description="file with a first line of column names")]
    label: Annotated[str, Field(description="column that holds the class, as text or number")]
    group: Annotated[
        str | None,
        Field(
            description="column whose equal values stay in one split, such as the patient; epsilon "
            "stays that of one row"
        ),
    ] = None
    subgroup: Annotated[
        str | None,
        Field(
            description="column by whose values figures are told apart, such as an age band; needs "
            "`measure`"
        ),
    ] = None
    leave_out: Annotated[
        tuple[str, ...], Field(description="columns that are no features, such as a row's number")
    ] = ()
    separator: Annotated[str, Len(1, 1), Field(description="the character between two columns")] = (
        ","
    )
    ranges: Annotated[
        dict[str, Range] | None,
        Field(
            description="column -> `[low, high]`, the values that stand for 0 and 1; a column "
            "without one is scaled by its range in the pool"
        ),
    ] = None

    def find(self) -> Path:
        """Return the whole path of the file; raise :class:`DataError` if there is none."""
        return find_file(self.path, "csv")

    def read(self) -> RawData:
        """Return the features (n, columns), the labels, and the groups and subgroups if given."""
        where = f"csv: {self.find()}"
        table = self._table(where)
        named = [name for name in (self.label, self.group, self.subgroup) if name is not None]
        _require_columns(table, [*named, *self.leave_out], where)
        for name in named:
            self._require_values(table[name], where)

        values = table[self.label]
        classes, labels = np.unique(
            values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True
        )
        others = {*named, *self.leave_out}
        features = table[[name for name in table.columns if name not in others]]
        _require_numbers(features, where)
        try:
            refuse_rounded(features)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        groups, subgroups = (
            None if name is None else table[name].to_numpy() for name in (self.group, self.subgroup)
        )
        notes = self._clipped(features, where)
        raw = to_raw_data(features.astype(np.float64), labels, groups, subgroups, notes=notes)
        return replace(raw, classes=tuple(map(str, classes)), value_range=self._ends(raw.names))

    def _clipped(self, features: pd.DataFrame, where: str) -> tuple[str, ...]:
        """Return a note on each column with values outside its range."""
        ranges = self.ranges or {}
        _require_columns(features, list(ranges), f"{where}: `ranges`", "feature")
        return tuple(
            f"column {name!r}: {note}"
            for name, ends in ranges.items()
            for note in clipped(features[name].to_numpy(), ends)
        )

    def _ends(self, names: Sequence[str]) -> tuple[NDArray[np.float64], ...] | None:
        """Return the lower and the upper end of each feature's range, NaN where none is stated."""
        if not self.ranges:
            return None
        low, high = np.array([self.ranges.get(name, (np.nan, np.nan)) for name in names]).T
        return low, high

    def _table(self, where: str) -> pd.DataFrame:
        """Return the whole table; raise :class:`DataError` where its first line does not fit it."""
        table, first_line = self._read(where), self._read(where, header=None, nrows=1, dtype=str)
        if table.empty:
            raise DataError(f"{where} has a first line of names, and no rows")

        names = first_line.iloc[0].dropna()
        doubled = [repr(name) for name in names[names.duplicated()].unique()]
        if doubled:
            raise DataError(
                f"{where}: names of columns must differ, and {', '.join(doubled)} stands more than "
                "once",
                remedy="rename or remove one; a second column of labels would be a feature",
            )
        return table

    def _read(self, where: str, **options: Any) -> pd.DataFrame:
        import pandas as pd

        options = {"index_col": False, "low_memory": False, **options}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                table: pd.DataFrame = pd.read_csv(self.find(), sep=self.separator, **options)
            return table
        except pd.errors.ParserWarning:  # without index_col pandas would take a column for names
            raise DataError(
                f"{where}: the rows have more cells than the first line has names",
                remedy="name every column, and end no row with a separator",
            ) from None
        except (OSError, ValueError, pd.errors.ParserError) as error:
            raise DataError(
                f"{where} is not a table of equal rows ({' '.join(str(error).split())})",
                remedy="check the file, its encoding (UTF-8) and `separator`",
            ) from None

    def _require_values(self, column: pd.Series[Any], where: str) -> None:
        """Raise :class:`DataError` for a class, group or subgroup that is missing or written so."""
        missing = np.flatnonzero(column.isna())
        if not len(missing):
            return
        name, row = str(column.name), int(missing[0])
        texts = self._read(where, usecols=[name], dtype=str, keep_default_na=False)[name]
        written = texts.iloc[row]
        if written or name == self.label:  # an example without a group is counted elsewhere
            stands = f": {written!r} stands for a missing value" if written else ""
            remedy = "rename it in the file, for instance to " + f"no_{name}" if written else ""
            raise DataError(
                f"{where}: column {name!r} has no value in row {row}{stands}",
                remedy=remedy or "fill it, or leave the row out",
            )


def _require_columns(
    table: pd.DataFrame, names: Sequence[str], where: str, what: str = "column"
) -> None:
    """Raise :class:`DataError` unless the table has all columns."""
    for name in names:
        if name not in table.columns:
            hint = suggestion(name, map(str, table.columns))
            separators = [
                s for s in SEPARATORS if len(table.columns) == 1 and s in table.columns[0]
            ]
            raise DataError(
                f"{where} has no {what} {name!r}{hint}",
                remedy=f"write `separator: {json.dumps(separators[0])}`" if separators else "",
            )


def _require_numbers(features: pd.DataFrame, where: str) -> None:
    """Raise :class:`DataError` unless every feature has a name and holds numbers."""
    nameless = [str(name) for name in features.columns if str(name).startswith("Unnamed: ")]
    if nameless:
        listed = ", ".join(repr(name) for name in nameless)
        raise DataError(
            f"{where}: columns without a name, such as row numbers, are not taken for features",
            remedy=f"write `leave_out: [{listed}]`, or name them",
        )

    texts = [
        str(name)
        for name, kind in zip(features.columns, features.dtypes, strict=True)
        if kind.kind not in "buif"
    ]
    if texts or features.empty:
        hold = "holds texts" if len(texts) == 1 else "hold texts"
        what = f"{', '.join(texts)} {hold}" if texts else "there are none"
        first = str(features[texts[0]].iloc[0]) if texts else ""
        how = " with a decimal point" if re.fullmatch(r"-?\d+,\d+", first) else ""
        raise DataError(
            f"{where}: features must be columns of numbers, and {what}"
            + (f", such as {first!r}" if first else ""),
            remedy=f"write them as numbers{how}, or name them in `leave_out`",
        )
