"""Say what was read and dealt: rows, features, groups, sizes, and columns that seem identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config.plain_text import counted
from raysweep.data.examples import RawData
from raysweep.data.splits import Subgroups

MOST_NAMES = 5  # features that a summary names

MOST_SUBGROUPS_TOLD = 20

MOST_CLASSES = 20  # whose names a note tells

MOST_IDENTIFIERS = 5  # columns that notes tell

NEARLY_ALL = 0.9
"""Whole numbers that differ in this share of the rows are taken for identifiers."""

PER_RECORD = (
    "epsilon is for one record; `group` keeps a person in one split and does not make epsilon per "
    "person: the column epsilon_per_group is that of a person's records together"
)


def summarise(
    examples: RawData, groups: NDArray[np.int64] | None, splits: Mapping[str, NDArray[np.int64]]
) -> str:
    """Return one sentence on all examples, their groups, and the rows of each split."""
    n, shape = len(examples.features), examples.features.shape[1:]
    if len(shape) == 1:
        what = f"{counted(n, 'row')}, {counted(shape[0], 'feature')}{_named(examples.names)}"
    else:
        what = f"{counted(n, 'example')} of {'x'.join(map(str, shape))}"

    grouped = "no groups" if groups is None else counted(int(groups.max()) + 1, "group")
    sizes = [
        f"{len(rows):,} {name}" for name, rows in splits.items() if len(rows) or name != "reference"
    ]
    dealt = np.unique(np.concatenate([*splits.values()]))
    rest = f"; {n - len(dealt):,} in no split" if len(dealt) < n else ""
    return f"{what}, {grouped}; dealt {', '.join(sizes)}{rest}"


def of_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note on the number of each class that has a name; none of very many."""
    numbered = ", ".join(f"{number} = {name}" for number, name in enumerate(names))
    return (f"classes: {numbered}",) if 0 < len(names) <= MOST_CLASSES else ()


def of_groups(most: int | None) -> tuple[str, ...]:
    """Return a note on what epsilon says of a group of ``most`` members; none where it is one."""
    return () if most in (None, 1) else (f"{PER_RECORD}, here at most {most:,}",)


def of_subgroups(subgroups: Subgroups, members: NDArray[np.int64]) -> str:
    """Return a note on how many members each subgroup has."""
    counts = np.bincount(subgroups.codes[members], minlength=len(subgroups.names))
    listed = [f"{name} {count:,}" for name, count in zip(subgroups.names, counts, strict=True)]
    more = ", ..." if len(listed) > MOST_SUBGROUPS_TOLD else ""
    return f"subgroups of the members: {', '.join(listed[:MOST_SUBGROUPS_TOLD])}{more}"


def _named(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f" ({', '.join(names[:MOST_NAMES])}{more})"


def identifiers(examples: RawData) -> tuple[str, ...]:
    """Return a note on each flat feature that seems to number rows or persons."""
    kind = examples.features.dtype.kind
    if examples.features.ndim != 2 or examples.top is not None or kind not in "iuf":
        return ()
    n = len(examples.features)
    if examples.names:
        remedy = "name it in `group` or `leave_out`"
    else:
        remedy = "leave it out, or give it as groups"
    return tuple(
        f"{name}: {n_different:,} different whole numbers in {n:,} rows: an identifier? {remedy}"
        for name, n_different in [*_counts(examples)][:MOST_IDENTIFIERS]
    )


def constants(examples: RawData) -> tuple[str, ...]:
    """Return a note where flat features, or all pixels of images, have one value in all rows."""
    x = examples.features.reshape(len(examples.features), -1)
    same = np.flatnonzero((x == x[:1]).all(axis=0))
    n, is_flat = x.shape[1], examples.features.ndim == 2
    if len(same) == n:
        return ("all examples are equal, so nothing can be learnt from them",)
    if not is_flat or not len(same):
        return ()
    names = tuple(examples.feature_name(number) for number in same[: MOST_NAMES + 1])
    return (f"{len(same):,} of {n:,} features have one value in all rows{_named(names)}",)


def _counts(examples: RawData) -> Iterator[tuple[str, int]]:
    """Yield the columns of whole numbers that are called so, or differ in nearly all rows."""
    n = len(examples.features)
    for number in range(examples.features.shape[1]):
        name = examples.names[number] if examples.names else f"feature {number}"
        column = examples.features[:, number]
        is_called_so = _is_called_identifier(name)
        if (is_called_so or np.ptp(column) >= NEARLY_ALL * n - 1) and _is_whole(column):
            n_different = len(np.unique(column))
            if n_different >= NEARLY_ALL * n or (is_called_so and n_different > 2):
                yield name, n_different


def _is_called_identifier(name: str) -> bool:
    """Return whether a column has the name of an identifier.

    >>> [_is_called_identifier(name) for name in ("id", "patient_id", "Patient ID", "PatientID")]
    [True, True, True, True]
    >>> [_is_called_identifier(name) for name in ("acid", "COVID", "mean radius")]
    [False, False, False]
    """
    words = name.replace("_", " ").replace("-", " ").replace(".", " ").split()
    last = words[-1] if words else ""
    return last.lower() == "id" or (last.endswith(("ID", "Id")) and last[-3:-2].islower())


def _is_whole(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "iu" or bool((column == np.floor(column)).all())
