"""Dealing examples into disjoint splits, once, by seed. Pure NumPy and SciPy.

Each class of each split is within one example of its share; groups (one person's images, say)
never straddle two splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from raysweep.config import sub_seed
from raysweep.errors import DataError

Indices = NDArray[np.int64]

Size = Annotated[int, Ge(0)] | Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many examples each split gets: a whole number, or a fraction of the data set below 1."""

    members: Size = 0.3
    nonmembers: Size = 0.1
    pool: Size = 0.4
    reference: Size = 0
    validation: Size = 0.1
    test: Size = 0.1

    def counts(self, total: int) -> dict[str, int]:
        """Return each split's number of examples; raise :class:`DataError` if they do not fit."""
        asked = {name: getattr(self, name) for name in self.__dataclass_fields__}
        counts = {name: _count(name, value, total) for name, value in asked.items()}
        _check_some(counts, "members", "nonmembers", "validation")
        _check_fit(counts, total, "the data set")
        return counts


@dataclass(frozen=True, kw_only=True)
class PublishedSizes:
    """How many examples each split gets of the published training and test set.

    ``members``, ``pool`` and ``reference`` come from the training set, the others from the test
    set; a size is a whole number, or a fraction of its set. ``members`` and ``validation`` take
    what is left unless told. Without ``nonmembers`` the validation examples serve as such.
    """

    members: Size | None = None
    nonmembers: Size = 0
    pool: Size = 0
    reference: Size = 0
    validation: Size | None = None
    test: Size = 0

    def counts(self, n_train: int, n_test: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the numbers of examples from the training set and from the test set."""
        train = self._part(("pool", "reference"), "members", n_train, "training")
        test = self._part(("nonmembers", "test"), "validation", n_test, "test")
        return train, test

    def _part(self, names: tuple[str, ...], filling: str, total: int, part: str) -> dict[str, int]:
        counts = {name: _count(name, getattr(self, name), total) for name in names}
        left = max(0, total - sum(counts.values()))
        asked = getattr(self, filling)
        counts[filling] = left if asked is None else _count(filling, asked, total)
        _check_fit(counts, total, f"the published {part} set")
        _check_some(counts, filling)
        return counts


def _count(name: str, value: float, total: int) -> int:
    if not isfinite(value):
        raise DataError(f"dataset.{name} must be finite, got {value}")
    count = int(total * value) if 0 < value < 1 else int(value)
    if value != count and value > 1:
        law = "must be a whole number of examples or a fraction below 1"
        raise DataError(f"dataset.{name} {law}, got {value}")
    return count


def _check_some(counts: Mapping[str, int], *names: str) -> None:
    for name in names:
        if counts[name] == 0:
            raise DataError(f"dataset.{name} must hold at least one example, got {counts[name]}")


def _check_fit(counts: Mapping[str, int], total: int, whole: str) -> None:
    asked = sum(counts.values())
    if asked > total:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise DataError(
            f"the splits ask for {asked:,} examples, {whole} has {total:,} ({told}); "
            "make some of them smaller"
        )


def deal(
    labels: Indices, groups: Indices | None, counts: Mapping[str, int], *, seed: int
) -> dict[str, Indices]:
    """Return the sorted indices of each split, disjoint; examples left over are in none."""
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _deal_groups(groups, counts, rng)
    by_class = [rng.permutation(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    table = share_table([len(rows) for rows in by_class], list(counts.values()), rng)
    starts = np.zeros(len(by_class), dtype=int)
    splits = {}
    for name, row in zip(counts, table, strict=True):
        taken = [rows[s : s + k] for rows, s, k in zip(by_class, starts, row, strict=True)]
        splits[name] = np.sort(np.concatenate(taken))
        starts += row
    return splits


def deal_published(
    labels: Indices, is_training: NDArray[np.bool_], sizes: PublishedSizes, *, seed: int
) -> dict[str, Indices]:
    """Return the sorted indices of each split, each from its own published set."""
    rows = {"training": np.flatnonzero(is_training), "test": np.flatnonzero(~is_training)}
    counts = sizes.counts(len(rows["training"]), len(rows["test"]))
    splits: dict[str, Indices] = {}
    for (part, own), own_counts in zip(rows.items(), counts, strict=True):
        dealt = deal(labels[own], None, own_counts, seed=sub_seed(seed, part))
        splits |= {name: own[chosen] for name, chosen in dealt.items()}
    if len(splits["nonmembers"]) == 0:
        splits["nonmembers"] = splits["validation"]
    return splits


def share_table(
    class_sizes: list[int], split_sizes: list[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return how many examples of each class each split gets, (splits, classes).

    Every entry is its share rounded down or up, every row sums to the split's size, and no column
    exceeds its class. Such a rounding always exists (the constraints are totally unimodular), and
    a linear program finds it; ``rng`` chooses among the many.
    """
    from scipy.optimize import linprog

    sizes = np.array(class_sizes)
    share = np.outer(split_sizes, sizes) / sizes.sum()
    low = np.floor(share + 1e-9)
    missing_rows = np.array(split_sizes) - low.sum(axis=1)
    spare_columns = sizes - low.sum(axis=0)
    n_splits, n_classes = share.shape
    bounds = [(0, 1 if extra > 1e-9 else 0) for extra in (share - low).ravel()]
    solution = linprog(
        rng.random(share.size),
        A_eq=np.kron(np.eye(n_splits), np.ones(n_classes)),
        b_eq=missing_rows,
        A_ub=np.kron(np.ones(n_splits), np.eye(n_classes)),
        b_ub=spare_columns,
        bounds=bounds,
        method="highs-ds",
    )
    table: Indices = (low + np.round(solution.x).reshape(share.shape)).astype(np.int64)
    return table


def _deal_groups(
    groups: Indices, counts: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Indices]:
    """Hand out whole groups, each to the split that is furthest from its size."""
    splits: dict[str, list[Indices]] = {name: [] for name in counts}
    wanted = dict(counts)
    for group in rng.permutation(np.unique(groups)):
        rows = np.flatnonzero(groups == group)
        name = max(wanted, key=lambda split: wanted[split])
        if wanted[name] <= 0:
            break
        splits[name].append(rows)
        wanted[name] -= len(rows)
    empty = [name for name, count in counts.items() if count and not splits[name]]
    if empty:
        raise DataError(
            f"{len(np.unique(groups))} groups are too few: {', '.join(empty)} would get none; "
            "ask for fewer splits or give finer groups"
        )
    none = np.array([], dtype=np.int64)
    return {k: np.sort(np.concatenate([*v, none])) for k, v in splits.items()}
