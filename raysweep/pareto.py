"""Which points nobody beats, and how much they cover. Pure NumPy, any number of objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _as_losses(values: ArrayLike, directions: Sequence[str]) -> NDArray[np.float64]:
    """Return ``values`` (n, objectives) with every objective turned so that less is better."""
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(directions))
    signs = np.array([-1.0 if direction == "max" else 1.0 for direction in directions])
    losses: NDArray[np.float64] = points * signs
    return losses


def front_mask(values: ArrayLike, directions: Sequence[str]) -> NDArray[np.bool_]:
    """Return which rows of ``values`` (n, objectives) no other row dominates, (n,).

    A row dominates another when it is nowhere worse and somewhere better; equal rows stay
    together. A row with a missing value (NaN) is never on the front.

    >>> front_mask([[1, 1], [2, 2], [0, 3]], ["max", "min"]).tolist()
    [True, True, False]
    """
    losses = _as_losses(values, directions)
    mask = np.zeros(len(losses), dtype=bool)
    whole = np.flatnonzero(~np.isnan(losses).any(axis=1))
    # Whoever dominates has the lower sum of ranks: the lowest of those that are left is on the
    # front, and what it dominates, much of the rest, is gone with it.
    ranks = [np.unique(column, return_inverse=True)[1] for column in losses[whole].T]
    left = whole[np.argsort(np.sum(ranks, axis=0), kind="stable")]
    rest = losses[left]
    while len(left):
        mask[left[0]] = True
        beaten = (rest[0] <= rest).all(axis=1) & (rest[0] < rest).any(axis=1)
        beaten[0] = True
        left, rest = left[~beaten], rest[~beaten]
    return mask


def hypervolume(values: ArrayLike, reference: ArrayLike, directions: Sequence[str]) -> float:
    """Return the volume that the rows of ``values`` dominate within ``reference`` (objectives,).

    Rows that are not better than the reference in every objective add nothing.

    >>> hypervolume([[1.0, 0.5]], [0.0, 1.0], ["max", "min"])
    0.5
    """
    losses = _as_losses(values, directions)
    worst = _as_losses(np.asarray(reference), directions)[0]
    inside = losses[(losses < worst).all(axis=1)]
    return _volume(inside[front_mask(inside, ["min"] * len(worst))], worst)


def _volume(points: NDArray[np.float64], worst: NDArray[np.float64]) -> float:
    """Slice along the last objective; each slice is a volume of one dimension less."""
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(worst[0] - points.min())
    points = points[np.argsort(points[:, -1], kind="stable")]
    edges = np.append(points[:, -1], worst[-1])
    total = 0.0
    for i, depth in enumerate(np.diff(edges)):
        if depth > 0:
            slab = points[: i + 1, :-1]
            slab = slab[front_mask(slab, ["min"] * slab.shape[1])]
            total += float(depth) * _volume(slab, worst[:-1])
    return total
