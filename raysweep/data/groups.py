"""Deal whole groups, such as all records of one person, and cap how many records each has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from raysweep.config.plain_text import counted
from raysweep.errors import DataError

Indices = NDArray[np.int64]


def deal_groups(
    labels: Indices, groups: Indices, counts: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Indices]:
    """Return the indices of each split, made of whole groups.

    Groups come in random order, and each goes to the split that lacks the most examples.

    Raises:
        DataError: a split gets no group, or the members get none of a class.

    """
    names, codes = np.unique(groups, return_inverse=True)
    by_group = rows_by_code(codes)

    splits: dict[str, list[Indices]] = {name: [] for name in counts}
    missing = dict(counts)
    for group in rng.permutation(len(names)):
        name = max(missing, key=lambda split: missing[split])
        if missing[name] <= 0:
            break
        splits[name].append(by_group[group])
        missing[name] -= len(by_group[group])

    empty = [name for name, count in counts.items() if count and not splits[name]]
    if empty:
        raise DataError(
            f"{counted(len(names), 'group')} cannot fill the splits {', '.join(empty)}",
            remedy="ask for fewer splits or give finer groups",
        )

    no_rows = np.array([], dtype=np.int64)
    dealt = {name: np.sort(np.concatenate([*parts, no_rows])) for name, parts in splits.items()}
    _check_classes_of_groups(labels, codes, dealt["members"])
    return dealt


def _check_classes_of_groups(labels: Indices, groups: Indices, members: Indices) -> None:
    """Raise :class:`DataError` if groups keep a class away from the members."""
    lacking = np.setdiff1d(labels, labels[members])
    if len(lacking):
        n_groups = len(np.unique(groups[labels == lacking[0]]))
        raise DataError(
            f"the members get no example of {len(lacking):,} of the classes: a group is dealt "
            f"whole, and class {lacking[0]} is in {n_groups:,} of {len(np.unique(groups)):,} "
            "groups alone",
            remedy="give finer groups or more members, or leave the class out",
        )


def at_most(groups: Indices, most: int, *, seed: int) -> Indices:
    """Return the sorted rows that are kept where each group keeps ``most`` of its rows by chance.

    >>> at_most(np.array([0, 1, 1, 0, 2]), 2, seed=0).tolist()
    [0, 1, 2, 3, 4]
    """
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(rows)[:most] for rows in rows_by_code(groups)]
    return np.sort(np.concatenate(kept))


def rows_by_code(codes: Indices) -> list[Indices]:
    """Return the sorted rows of each code 0, 1 ... in time linear in the rows and codes.

    >>> [rows.tolist() for rows in rows_by_code(np.array([1, 0, 1]))]
    [[1], [0, 2]]
    """
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])
