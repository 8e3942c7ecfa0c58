"""The examples that the models of an ensemble are trained on, and which model sees which half.

The population is the n members of the deal and n outsiders: nonmembers first, then the pool. This
module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysweep.config import sub_seed
from raysweep.data import Split, Splits, concatenate
from raysweep.errors import DataError


def check_population(splits: Splits) -> None:
    """Raise :class:`DataError` unless there are as many outsiders as members."""
    n, found = len(splits.members), sum(map(len, _candidates(splits)))
    if found < n:
        shared = ""
        if splits.kind == "published, validation as nonmembers":
            shared = " (these nonmembers do not count: they are the validation examples)"
        raise DataError(
            f"`measure` needs as many outsiders as the {n:,} members, from dataset.nonmembers and "
            f"then dataset.pool{shared}",
            got=found,
            remedy=f"lower dataset.members to {found:,}, or enlarge dataset.nonmembers or "
            "dataset.pool",
        )


def _candidates(splits: Splits) -> tuple[Split, Split]:
    """Return the nonmembers and the pool, without the examples that accuracy is measured on."""
    validation = splits.validation.indices
    nonmembers, pool = (
        split.rows(np.flatnonzero(~np.isin(split.indices, validation)))
        for split in (splits.nonmembers, splits.pool)
    )
    return nonmembers, pool


def population(splits: Splits) -> Split:
    """Return the members, then as many outsiders.

    Raises:
        DataError: there are fewer outsiders.

    """
    check_population(splits)
    n = len(splits.members)
    nonmembers, pool = _candidates(splits)
    nonmembers = nonmembers.rows(np.arange(min(n, len(nonmembers))))
    outsiders = concatenate(nonmembers, pool.rows(np.arange(n - len(nonmembers))))
    return concatenate(splits.members, outsiders)


@dataclass(frozen=True, kw_only=True)
class Partition:
    """What parts all examples: ``of`` gives the number of each example's name."""

    kind: Literal["class", "subgroup"]
    names: Sequence[str]
    of: Callable[[Split], NDArray[np.int64]]


def partitions(splits: Splits) -> Iterator[Partition]:
    """Yield the classes, and the subgroups if the data have any."""
    names = splits.classes or tuple(map(str, range(splits.members.n_classes)))
    yield Partition(kind="class", names=names, of=lambda examples: examples.labels)
    subgroups = splits.subgroups
    if subgroups is not None:
        yield Partition(kind="subgroup", names=subgroups.names, of=subgroups.of)


def halves(n: int, n_models: int, *, seed: int) -> NDArray[np.bool_]:
    """Return which of 2n examples each model is trained on, (n_models, 2n).

    Model 0 is trained on the first n, and model 2 j on a random half that depends on j and the seed
    only. Model 2 j + 1 is trained on the complement of it.
    """
    inside = np.zeros((n_models, 2 * n), dtype=bool)
    inside[0, :n] = True
    for number in range(2, n_models, 2):
        rng = np.random.default_rng(sub_seed(seed, "ensemble", "half", number))
        inside[number, rng.permutation(2 * n)[:n]] = True
    inside[1::2] = ~inside[0::2]
    return inside
