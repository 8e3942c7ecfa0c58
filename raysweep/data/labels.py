"""Check what a data set says of each example: its label, its group and its subgroup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config.plain_text import counted, printable
from raysweep.data.examples import to_array
from raysweep.data.splits import Subgroups
from raysweep.errors import DataError

MOST_SUBGROUPS = 100

MISSING = ("", "nan", "None", "NaT", "<NA>")
"""Texts that NumPy and pandas make of a missing value."""


def check_labels(given: Any, n: int, where: str, names: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return the labels of ``n`` examples as int64, after checking that no class is left out.

    Classes are 0 to classes - 1. Whole numbers may be stored as floats or as true and false, in one
    column or in a table of one column. ``where`` begins the message of an error, and ``names`` are
    those of the classes, if they have any.
    """
    labels = _whole_numbers(_one_column(given, f"{where}: labels"), where)
    if len(labels) != n:
        raise DataError(
            f"{where} has {counted(n, 'row')} of features and {counted(len(labels), 'label')}; "
            "the two numbers must be equal"
        )
    if n == 0:
        raise DataError(f"{where} has no examples")
    if labels.min() < 0:
        raise DataError(
            f"{where}: labels must start at 0, got {labels.min()}",
            remedy="number the classes: numpy.unique(labels, return_inverse=True)[1]",
        )

    classes, counts = np.unique(labels, return_counts=True)
    gaps = np.flatnonzero(classes != np.arange(len(classes)))
    if len(gaps):
        raise DataError(
            f"{where}: class {gaps[0]} has no example", remedy="number classes 0, 1, 2 ..."
        )
    if (counts == 1).any():
        number = int(np.flatnonzero(counts == 1)[0])
        name = f" ({printable(names[number])})" if names else ""
        raise DataError(
            f"{where}: class {number}{name} has a single example, so "
            "members and nonmembers cannot both have one of this class",
            remedy="add one, or leave the class out",
        )
    if len(classes) < 2:
        raise DataError(f"{where} has one class only; a classifier needs two")
    return labels.astype(np.int64)


def check_groups(given: Any, n: int, where: str) -> NDArray[np.int64]:
    """Return the groups of ``n`` examples, numbered from 0 in sorted order."""
    return _numbered(given, n, where, "group", remedy="give each a group of its own")[1]


def check_subgroups(given: Any, n: int, where: str) -> Subgroups:
    """Return the subgroups of ``n`` examples, each of at least two examples."""
    remedy = "name their subgroup, for instance unknown"
    values, codes = _numbered(given, n, where, "subgroup", remedy=remedy)
    counts = np.bincount(codes)
    if len(values) > MOST_SUBGROUPS:
        raise DataError(
            f"{where}: figures are told apart by at most {MOST_SUBGROUPS} subgroups",
            got=len(values),
            remedy="put values together, such as ages in bands",
        )
    if (counts == 1).any():
        which = printable(values[np.flatnonzero(counts == 1)[0]])
        raise DataError(
            f"{where}: subgroup {which} has a single example, of which there is no figure",
            remedy="put it into another subgroup, or leave the example out",
        )
    return Subgroups(names=tuple(map(str, values)), codes=codes)


def _numbered(
    given: Any, n: int, where: str, what: str, *, remedy: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the different values of a column in sorted order, and the number of each example's."""
    column = _one_column(given, f"{where}: {what}s")
    if column.shape != (n,):
        raise DataError(
            f"{where}: {what}s must pair with labels, got {column.shape} and {(n,)}",
            remedy=f"give one {what} for each example, in one column",
        )

    missing = _missing(given, what)
    if len(missing):
        which = counted(len(missing), "example has", "examples have")
        raise DataError(f"{where}: {which} no {what}, the first in row {missing[0]}", remedy=remedy)
    try:
        values, codes = np.unique(column, return_inverse=True)
    except TypeError:
        raise DataError(f"{where}: {what}s must be all numbers or all texts") from None
    return values, codes.reshape(-1)


def _missing(given: Any, what: str) -> NDArray[np.int64]:
    """Return the rows without a value, or with the text that a missing value became."""
    import pandas as pd

    values = to_array(given, what)
    missing = pd.isna(values)
    if values.dtype.kind in "OU":
        missing |= np.isin(values.astype(str), MISSING)
    return np.flatnonzero(missing)


def _one_column(given: Any, what: str) -> NDArray[Any]:
    values = to_array(given, what)
    if values.dtype == object:  # numbers of pandas that may be missing
        values = np.asarray(values.tolist())
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _whole_numbers(labels: NDArray[Any], where: str) -> NDArray[Any]:
    """Return labels as whole numbers; raise :class:`DataError` for anything else."""
    rule = f"{where}: labels must be one column of whole numbers from 0"
    if labels.ndim != 1:
        remedy = "of one-hot rows take labels.argmax(axis=1)" if labels.ndim == 2 else ""
        raise DataError(f"{rule}, got {labels.dtype} of shape {labels.shape}", remedy=remedy)

    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(labels) | (labels != np.floor(labels)))
        if len(wrong):
            raise DataError(f"{rule}, got {labels[wrong[0]]} in row {wrong[0]}")
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        first = f", such as {labels[0]!r}" if len(labels) else ""
        raise DataError(
            f"{rule}, got {labels.dtype} of shape {labels.shape}{first}",
            remedy="number the classes: numpy.unique(labels, return_inverse=True)[1]",
        )
    return labels
