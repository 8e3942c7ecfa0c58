"""Canaries: examples that are put among those that models train on, to see which are remembered.

They take the places of ordinary examples of a population, so that there are as many examples as
without them, and each is in half of the models (Aerni et al. 2024). This module does not import
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysweep.config import Canaries, sub_seed
from raysweep.data import Split, Splits
from raysweep.errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A population of 2n examples with canaries in it.

    ``canaries`` are the rows of the canaries of each kind, and ``copies`` the rows of the second
    copies of the duplicated ones, which are in the same models as the first.
    """

    examples: Split
    canaries: Mapping[str, Rows]
    copies: Rows


def check_canaries(splits: Splits, canaries: Canaries) -> None:
    """Raise :class:`DataError` if the population of ``splits`` has no room for the canaries."""
    n = len(splits.members)
    if canaries.places > n:
        twice = ", each duplicated one for two" if canaries.duplicated else ""
        raise DataError(
            f"`measure.canaries` stand for at most half of the {2 * n:,} examples of the "
            f"population{twice}",
            got=canaries.places,
            remedy="ask for fewer of them, or enlarge dataset.members",
        )
    if canaries.out_of_distribution and np.prod(splits.members.shape) < 2:
        raise DataError(
            "canaries that are out_of_distribution have their features in another order, and the "
            "data have one feature",
            remedy="ask for other kinds",
        )


def plant(examples: Split, canaries: Canaries, *, seed: int) -> Planted:
    """Return a population with canaries in random places, the same for the same seed.

    A mislabelled one is the example of its place with another label, each as likely. One that is
    out of distribution has the example's features or pixels in a random order of its own. A
    duplicated one stands in its place unchanged, and once more in that of another example.
    """
    rng = np.random.default_rng(sub_seed(seed, "canaries"))
    sizes = [canaries.mislabelled, canaries.out_of_distribution, canaries.duplicated]
    places = rng.permutation(len(examples))[: canaries.places]
    wrong, strange, twice, copies = np.split(places, np.cumsum(sizes))

    labels, n_classes = examples.labels.copy(), examples.n_classes
    labels[wrong] = (labels[wrong] + rng.integers(1, n_classes, size=len(wrong))) % n_classes
    features = np.array(examples.features, order="C")
    flat = features.reshape(len(features), -1)
    flat[strange] = rng.permuted(flat[strange], axis=1)

    indices = examples.indices.copy()
    for values in (features, labels, indices):
        values[copies] = values[twice]
    by_kind = {"mislabelled": wrong, "out_of_distribution": strange, "duplicated": twice}
    return Planted(
        examples=Split(
            features=features,
            labels=labels,
            indices=indices,
            top=examples.top,
            n_classes=n_classes,
        ),
        canaries={kind: by_kind[kind] for kind in canaries.counts},
        copies=copies,
    )


def planted_halves(planted: Planted, n_models: int, *, seed: int) -> NDArray[np.bool_]:
    """Return which of the 2n examples each model is trained on, (n_models, 2n): n of them.

    Model 2 j has a random half of the canaries of each kind, and of the ordinary examples, and
    model 2 j + 1 has the rest.
    """
    n = len(planted.examples)
    kinds = {kind: rows[:, None] for kind, rows in planted.canaries.items()}
    if "duplicated" in kinds:
        kinds["duplicated"] = np.stack([planted.canaries["duplicated"], planted.copies], axis=1)
    taken = np.concatenate([rows.ravel() for rows in kinds.values()])
    ordinary = np.setdiff1d(np.arange(n), taken)[:, None]

    inside = np.zeros((n_models, n), dtype=bool)
    for number in range(0, n_models, 2):
        rng = np.random.default_rng(sub_seed(seed, "canaries", "half", number))
        for rows in (ordinary, *kinds.values()):
            inside[number, rng.permutation(rows)[: len(rows) // 2].ravel()] = True
    inside[1::2] = ~inside[0::2]
    return inside
