"""Which points nobody beats, and how much they cover. Pure NumPy, any number of objectives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
    find = _swept if losses.shape[1] <= 3 else _peeled
    mask[whole] = find(losses[whole])
    return mask


def _swept(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Sweep along the first of at most three objectives: whoever dominates a row comes before it.

    A staircase of the other two is all that a row must be held against (Kung et al. 1975).
    """
    order = np.lexsort(losses.T[::-1])
    padded = np.zeros((3, len(losses)))
    padded[: losses.shape[1]] = losses[order].T
    differs = np.ones(len(losses), dtype=bool)
    differs[1:] = (padded[:, 1:] != padded[:, :-1]).any(axis=0)
    stairs, mask = Staircase(), np.zeros(len(losses), dtype=bool)
    stands = False
    columns = (column.tolist() for column in (order, differs, padded[1], padded[2]))
    for place, is_new, x, y in zip(*columns, strict=True):
        if is_new:  # equal rows stay together
            stands = not stairs.covers(x, y)
            if stands:
                stairs.add(x, y)
        mask[place] = stands
    return mask


def _peeled(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Take the row that must be on the front, drop what it dominates, and so on.

    Whoever dominates has the lower sum of ranks: the lowest of those that are left is on the
    front, and what it dominates, much of the rest, is gone with it.
    """
    mask = np.zeros(len(losses), dtype=bool)
    ranks = [np.unique(column, return_inverse=True)[1] for column in losses.T]
    left = np.argsort(np.sum(ranks, axis=0), kind="stable")
    rest = losses[left]
    while len(left):
        mask[left[0]] = True
        beaten = (rest[0] <= rest).all(axis=1) & (rest[0] < rest).any(axis=1)
        beaten[0] = True
        left, rest = left[~beaten], rest[~beaten]
    return mask


class Staircase:
    """The points of a plane that no other point beats in both (less is better), and their area.

    ``area`` is what they cover below ``(right, top)``. A point costs the logarithm of the number
    of steps.
    """

    def __init__(self, right: float = 0.0, top: float = 0.0) -> None:
        self.right, self.top = right, top
        self.area = 0.0
        self._x: list[float] = []  # rising
        self._y: list[float] = []  # falling

    def covers(self, x: float, y: float) -> bool:
        """Return whether a step is at least as good as (x, y) in both."""
        at = bisect_right(self._x, x)
        return at > 0 and self._y[at - 1] <= y

    def add(self, x: float, y: float) -> None:
        """Add a point that no step covers; the steps that it covers go."""
        first = last = bisect_left(self._x, x)
        height = self._y[first - 1] if first else self.top
        edge = x
        while last < len(self._x) and self._y[last] >= y:
            self.area += (self._x[last] - edge) * (height - y)
            edge, height = self._x[last], self._y[last]
            last += 1
        end = self._x[last] if last < len(self._x) else self.right
        self.area += (end - edge) * (height - y)
        self._x[first:last], self._y[first:last] = [x], [y]


def hypervolume(values: ArrayLike, reference: ArrayLike, directions: Sequence[str]) -> float:
    """Return the volume that the rows of ``values`` dominate within ``reference`` (objectives,).

    Rows that are not better than the reference in every objective add nothing.

    >>> hypervolume([[1.0, 0.5]], [0.0, 1.0], ["max", "min"])
    0.5
    """
    losses = _as_losses(values, directions)
    worst = _as_losses(np.asarray(reference), directions)[0]
    inside = losses[(losses < worst).all(axis=1)]
    return _volume(inside, worst)


def _volume(points: NDArray[np.float64], worst: NDArray[np.float64]) -> float:
    """Slice along the last objective; each slice is a volume of one dimension less."""
    if points.shape[1] <= 3:
        return _swept_volume(points, worst)
    points = points[_peeled(points)]
    points = points[np.argsort(points[:, -1], kind="stable")]
    depths: list[float] = np.diff(np.append(points[:, -1], worst[-1])).tolist()
    return sum(
        depth * _volume(points[: i + 1, :-1], worst[:-1])
        for i, depth in enumerate(depths)
        if depth > 0
    )


def _swept_volume(points: NDArray[np.float64], worst: NDArray[np.float64]) -> float:
    """Sweep a staircase through at most three objectives: its area times each step's depth."""
    padded, corner = np.zeros((3, len(points))), np.ones(3)
    padded[: len(worst)], corner[: len(worst)] = points.T, worst
    padded = padded[:, np.argsort(padded[2], kind="stable")]
    depths = np.diff(np.append(padded[2], corner[2]))
    stairs, total = Staircase(float(corner[0]), float(corner[1])), 0.0
    columns = (column.tolist() for column in (padded[0], padded[1], depths))
    for x, y, depth in zip(*columns, strict=True):
        if not stairs.covers(x, y):
            stairs.add(x, y)
        total += depth * stairs.area
    return total


def leading(values: ArrayLike, directions: Sequence[str], n: int) -> NDArray[np.bool_]:
    """Return which ``n`` rows of ``values`` (rows, objectives) come first, (rows,).

    Whole fronts first; of the front that does not fit whole, the rows that its epsilon-net takes
    first, distances being shares of each objective's range over all rows. Rows with a missing
    value (NaN) come after all others, in their order.

    >>> leading([[3, 3], [2, 2], [1, 4], [1, 1]], ["max", "max"], 3).tolist()
    [True, True, True, False]
    """
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(directions))
    chosen = np.zeros(len(points), dtype=bool)
    missing = np.isnan(points).any(axis=1)
    rest: NDArray[np.bool_] = np.logical_not(missing)
    scaled = _scaled(points, rest)
    first = -1.0 if directions[0] == "max" else 1.0
    while rest.any() and (free := n - int(chosen.sum())) > 0:
        rows = np.flatnonzero(rest)
        front = rows[front_mask(points[rows], directions)]
        if len(front) > free:
            start = int(np.argmin(first * points[front, 0]))
            front = front[epsilon_net(scaled[front], free, start=start)]
            rest[:] = False
        chosen[front] = True
        rest[front] = False
    chosen[np.flatnonzero(missing)[: max(0, n - int(chosen.sum()))]] = True
    return chosen


def epsilon_net(points: NDArray[np.float64], n: int, *, start: int) -> list[int]:
    """Return the first ``n`` rows of ``points`` (rows, objectives) in the order of their net.

    After ``start``, always the row that is farthest from all rows before it; the earlier of two
    equal ones.

    >>> epsilon_net(np.array([[0.0], [0.1], [1.0], [0.4]]), 3, start=0)
    [0, 2, 3]
    """
    order = [start]
    gaps = np.linalg.norm(points - points[start], axis=1)
    gaps[start] = -1.0
    while len(order) < min(n, len(points)):
        farthest = int(np.argmax(gaps))
        order.append(farthest)
        gaps = np.minimum(gaps, np.linalg.norm(points - points[farthest], axis=1))
        gaps[order] = -1.0
    return order


def _scaled(points: NDArray[np.float64], whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ``points`` as shares of each objective's range over the ``whole`` rows."""
    if not whole.any():
        return points
    low, high = points[whole].min(axis=0), points[whole].max(axis=0)
    with np.errstate(invalid="ignore"):  # epsilon may be infinite: it then has no range
        finite = np.isfinite(high - low) & (high > low)
        spread = np.where(finite, high - low, 1.0)
        shares: NDArray[np.float64] = np.where(finite, (points - low) / spread, 0.0)
    return shares
