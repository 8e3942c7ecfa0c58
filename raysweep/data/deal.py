"""Deal examples into disjoint splits by a seed, with NumPy and SciPy only.

Each split gets its share of each class, up to one example. All examples of a group, such as one
person's images, are in the same split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, inf
from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic.dataclasses import dataclass

from raysweep.config import sub_seed
from raysweep.config.plain_text import counted
from raysweep.data.groups import Indices, deal_groups, rows_by_code
from raysweep.errors import DataError

SPLITS = ("members", "nonmembers", "pool", "reference", "validation", "test")


def _check_size(size: float) -> float:
    """Return a size if it is a whole number of examples or a share below 1."""
    if isinstance(size, float) and size >= 1 and (size == 1 or size != int(size)):
        raise ValueError(
            f"a size must be a whole number of examples or a share below 1, got {size!r}"
        )
    return size


_SIZE_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "number", "minimum": 0}]}

Size = Annotated[
    int | float, Ge(0), Lt(inf), AfterValidator(_check_size), WithJsonSchema(_SIZE_SCHEMA)
]

SHARES = {"members": 0.3, "nonmembers": 0.1, "pool": 0.4, "validation": 0.1, "test": 0.1}
"""The share of the data set that each split gets if no size is stated at all."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many examples each split gets: a whole number, or a share of the data set below 1.

    A split without a size gets its share in SHARES, or less if the stated sizes leave less.
    ``members`` without a size get all that the other splits leave. A pool without a size holds at
    least as many as members and nonmembers together, if test and members without a size can give it
    what it lacks.
    """

    members: Annotated[
        Size | None,
        Field(description="examples that train the target; null: all that the others leave"),
    ] = None
    nonmembers: Annotated[
        Size | None,
        Field(description="examples that no target is trained on; null: a share of 0.1"),
    ] = None
    pool: Annotated[
        Size | None,
        Field(
            description="the attacker's own data, for shadows and decoders; null: a share of 0.4, "
            "or more"
        ),
    ] = None
    reference: Annotated[
        Size, Field(description="public data, for adversarial regularisation and `inference_model`")
    ] = 0
    validation: Annotated[
        Size | None,
        Field(description="examples on which `accuracy` is measured; null: a share of 0.1"),
    ] = None
    test: Annotated[
        Size | None,
        Field(description="examples that `raysweep confirm` alone reads; null: a share of 0.1"),
    ] = None
    records_per_group: Annotated[
        Annotated[int, Ge(1)] | None,
        Field(
            description="most examples of one group that are dealt; others are left out by chance"
        ),
    ] = None

    def counts(self, total: int) -> dict[str, int]:
        """Return each split's number of examples; raise :class:`DataError` if they do not fit."""
        sizes = {name: getattr(self, name) for name in SPLITS}
        stated = {name: _count(size, total) for name, size in sizes.items() if size is not None}
        rest = total - sum(stated.values())

        follow = _follow([name for name in sizes if name not in stated], rest, total)
        if "pool" in follow:
            follow = _with_enough_pool(follow, stated, rest)
        counts = {name: (stated | follow)[name] for name in sizes}
        most = self.records_per_group
        capped = "" if most is None else f" with records_per_group {most:,}"
        _check_fit(counts, total, f"the data set{capped}")
        _check_some(counts, total, "members", "nonmembers", "validation")
        return counts


def _follow(names: Sequence[str], rest: int, total: int) -> dict[str, int]:
    """Return the sizes of the splits that state none, of the ``rest`` that the stated ones leave.

    Where members get all that is left, the other shares are rounded up, so that with no size stated
    the pool holds as many examples as members and nonmembers together.
    """
    shares = {name: SHARES[name] for name in names}
    whole = max(0.0, min(total, rest / sum(shares.values()))) if shares else 0.0
    if "members" not in shares:
        return {name: int(whole * share + 1e-9) for name, share in shares.items()}

    others = {name: ceil(whole * shares[name] - 1e-9) for name in names if name != "members"}
    return {"members": max(0, rest - sum(others.values())), **others}


def _with_enough_pool(
    follow: dict[str, int], stated: Mapping[str, int], rest: int
) -> dict[str, int]:
    """Return sizes with a pool of at least members + nonmembers, as shadow models need, if it fits.

    What the pool lacks it takes from what no split got, then from a test split without a size, and
    then from members without a size, half of it: what they give, it need not hold for them.
    """
    sizes = follow.copy()
    counts = {**stated, **follow}
    lacking = counts["members"] + counts["nonmembers"] - counts["pool"]
    spare = max(0, rest - sum(follow.values()))

    free = min(max(0, lacking), spare + sizes.get("test", 0))
    given = ceil(max(0, lacking - free) / 2)
    if given and given >= sizes.get("members", 0):
        return follow
    sizes["pool"] += free + given
    if free > spare:
        sizes["test"] -= free - spare
    if given:
        sizes["members"] -= given
    return sizes


@dataclass(frozen=True, kw_only=True)
class PublishedSizes:
    """How many examples each split gets of the published training and test set.

    ``members``, ``pool`` and ``reference`` come from the training set, the others from the test
    set. A size is a whole number, or a fraction of its set. If ``members`` or ``validation`` is
    None, it gets all examples that the other splits of its set leave. If ``nonmembers`` is 0, the
    validation examples serve as nonmembers too.
    """

    members: Annotated[
        Size | None,
        Field(description="from the training set; null: all that pool and reference leave"),
    ] = None
    nonmembers: Annotated[
        Size, Field(description="from the test set; 0: the validation examples serve as nonmembers")
    ] = 0
    pool: Annotated[Size, Field(description="the attacker's own data, from the training set")] = 0
    reference: Annotated[Size, Field(description="public data, from the training set")] = 0
    validation: Annotated[
        Size | None,
        Field(description="from the test set; null: all that nonmembers and test leave"),
    ] = None
    test: Annotated[Size, Field(description="from the test set; for `raysweep confirm`")] = 0

    def counts(self, n_train: int, n_test: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the numbers of examples from the training set and from the test set."""
        train = self._counts_of_set(("pool", "reference"), "members", n_train, "training")
        test = self._counts_of_set(("nonmembers", "test"), "validation", n_test, "test")
        return train, test

    def _counts_of_set(
        self, names: tuple[str, ...], main: str, total: int, set_name: str
    ) -> dict[str, int]:
        """Return the sizes of the splits of one set. ``main`` gets the rest if it has no size."""
        counts = {name: _count(getattr(self, name), total) for name in names}
        size = getattr(self, main)
        if size is None:
            counts[main] = max(0, total - sum(counts.values()))
        else:
            counts[main] = _count(size, total)

        _check_fit(counts, total, f"the published {set_name} set")
        _check_some(counts, total, main)
        return counts


def _count(size: float, total: int) -> int:
    """Return a size as a number of examples; a share is rounded down."""
    return int(total * size) if 0 < size < 1 else int(size)


def _check_some(counts: Mapping[str, int], total: int, *names: str) -> None:
    """Raise :class:`DataError` if one of the named splits is empty."""
    for name in names:
        if counts[name] == 0:
            raise DataError(
                f"dataset.{name} must hold at least one example, got 0 of {total:,} "
                f"({_listed(counts)})",
                remedy=f"state `{name}`, or make others smaller",
            )


def _check_fit(counts: Mapping[str, int], total: int, whole: str) -> None:
    """Raise :class:`DataError` if the splits need more than ``total`` examples."""
    needed = sum(counts.values())
    if needed > total:
        raise DataError(
            f"the splits need {counted(needed, 'example')}, and {whole} has {total:,} "
            f"({_listed(counts)})",
            remedy="make some of them smaller, or leave sizes out, which then follow",
        )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def deal(
    labels: Indices, groups: Indices | None, counts: Mapping[str, int], *, seed: int
) -> dict[str, Indices]:
    """Return the sorted indices of each split. Splits are disjoint and may leave examples out."""
    rng = np.random.default_rng(seed)
    if groups is not None:
        return deal_groups(labels, groups, counts, rng)

    by_class = [rng.permutation(rows) for rows in rows_by_code(labels)]
    table = share_table([len(rows) for rows in by_class], list(counts.values()), rng)

    starts = np.zeros(len(by_class), dtype=int)
    splits = {}
    for name, sizes in zip(counts, table, strict=True):
        parts = [
            rows[start : start + size]
            for rows, start, size in zip(by_class, starts, sizes, strict=True)
        ]
        splits[name] = np.sort(np.concatenate(parts))
        starts += sizes
    return splits


def deal_published(
    labels: Indices, is_training: NDArray[np.bool_], sizes: PublishedSizes, *, seed: int
) -> dict[str, Indices]:
    """Return the sorted indices of each split, from the published training set or test set."""
    training, test = np.flatnonzero(is_training), np.flatnonzero(~is_training)
    training_counts, test_counts = sizes.counts(len(training), len(test))

    splits: dict[str, Indices] = {}
    for set_name, rows, counts in (
        ("training", training, training_counts),
        ("test", test, test_counts),
    ):
        dealt = deal(labels[rows], None, counts, seed=sub_seed(seed, set_name))
        splits |= {name: rows[chosen] for name, chosen in dealt.items()}

    if len(splits["nonmembers"]) == 0:
        splits["nonmembers"] = splits["validation"]
    return splits


def share_table(
    class_sizes: list[int], split_sizes: list[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return how many examples of each class each split gets, (splits, classes).

    Every entry is its share rounded down or up. Every row sums to the split's size, and no column
    sums to more than its class has. Such a rounding always exists, because the constraints are
    totally unimodular. A linear program with random costs, drawn from ``rng``, chooses one.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    sizes = np.array(class_sizes)
    share = np.outer(split_sizes, sizes) / sizes.sum()
    rounded_down = np.floor(share + 1e-9)
    missing = np.array(split_sizes) - rounded_down.sum(axis=1)
    spare = sizes - rounded_down.sum(axis=0)

    # One variable for each entry: 1 if it is rounded up. A share that is whole stays as it is. The
    # constraints are sparse: with thousands of classes, dense ones take gigabytes.
    n_splits, n_classes = share.shape
    solution = linprog(
        rng.random(share.size),
        A_eq=sparse.kron(sparse.eye(n_splits), np.ones((1, n_classes)), format="csr"),
        b_eq=missing,
        A_ub=sparse.kron(np.ones((1, n_splits)), sparse.eye(n_classes), format="csr"),
        b_ub=spare,
        bounds=np.stack([np.zeros(share.size), (share - rounded_down).ravel() > 1e-9], axis=1),
        method="highs-ds",
    )

    rounded_up = np.round(solution.x).reshape(share.shape)
    table: Indices = (rounded_down + rounded_up).astype(np.int64)
    return table
