"""Non-dominated points, their hypervolume and their order, for any number of objectives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _as_losses(values: ArrayLike, directions: Sequence[str]) -> NDArray[np.float64]:
    """Return ``values`` (n, objectives) with the sign of each such that less is better."""
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
    find = _front_of_three if losses.shape[1] <= 3 else _front_of_many
    mask[whole] = find(losses[whole])
    return mask


def _front_of_three(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of at most three objectives no other row dominates.

    The rows are visited in the order of the first objective, so a row that dominates another comes
    before it. It is then enough to compare each row with the staircase of the other two objectives
    (Kung et al. 1975).
    """
    order = np.lexsort(losses.T[::-1])
    padded = np.zeros((3, len(losses)))
    padded[: losses.shape[1]] = losses[order].T

    differs = np.ones(len(losses), dtype=bool)
    differs[1:] = (padded[:, 1:] != padded[:, :-1]).any(axis=0)

    stairs, mask = Staircase(), np.zeros(len(losses), dtype=bool)
    on_front = False
    columns = (column.tolist() for column in (order, differs, padded[1], padded[2]))
    for row, is_new, x, y in zip(*columns, strict=True):
        if is_new:  # a row equal to the one before it has the same answer
            on_front = not stairs.covers(x, y)
            if on_front:
                stairs.add(x, y)
        mask[row] = on_front
    return mask


def _front_of_many(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of any number of objectives no other row dominates.

    A row that dominates another has a lower sum of ranks. So the row with the lowest sum is on the
    front. It is taken, the rows that it dominates are dropped, and so on with the rows left.
    """
    mask = np.zeros(len(losses), dtype=bool)
    ranks = [np.unique(column, return_inverse=True)[1] for column in losses.T]
    left = np.argsort(np.sum(ranks, axis=0), kind="stable")
    rest = losses[left]

    while len(left):
        mask[left[0]] = True
        done = (rest[0] <= rest).all(axis=1) & (rest[0] < rest).any(axis=1)
        done[0] = True
        left, rest = left[~done], rest[~done]
    return mask


class Staircase:
    """The non-dominated points of a plane, where less is better in both coordinates.

    ``area`` is the area that they dominate up to ``(right, top)``. Adding a point takes time
    logarithmic in the number of points.
    """

    def __init__(self, right: float = 0.0, top: float = 0.0) -> None:
        self.right, self.top = right, top
        self.area = 0.0
        self._x: list[float] = []  # rising
        self._y: list[float] = []  # falling

    def covers(self, x: float, y: float) -> bool:
        """Return whether a point of the staircase is at least as good as (x, y) in both."""
        at = bisect_right(self._x, x)
        return at > 0 and self._y[at - 1] <= y

    def add(self, x: float, y: float) -> None:
        """Add a point that the staircase does not cover; remove the points that it covers."""
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
    """Return the volume between the points and ``worst``, where less is better.

    More than three objectives are cut into slices along the last one. Each slice is a volume of one
    dimension less.
    """
    if points.shape[1] <= 3:
        return _volume_of_three(points, worst)

    points = points[_front_of_many(points)]
    points = points[np.argsort(points[:, -1], kind="stable")]
    depths: list[float] = np.diff(np.append(points[:, -1], worst[-1])).tolist()
    return sum(
        depth * _volume(points[: i + 1, :-1], worst[:-1])
        for i, depth in enumerate(depths)
        if depth > 0
    )


def _volume_of_three(points: NDArray[np.float64], worst: NDArray[np.float64]) -> float:
    """Return the volume of at most three objectives.

    It is summed along the last objective: the area of a staircase times the depth of each step.
    """
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

    Fronts are taken one after the other. The rows of the first front that is too large are taken in
    the order of its epsilon-net. Distances there are shares of each objective's range over all
    rows. Rows with a missing value (NaN) come after all others, in their order.

    >>> leading([[3, 3], [2, 2], [1, 4], [1, 1]], ["max", "max"], 3).tolist()
    [True, True, True, False]
    """
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(directions))
    chosen = np.zeros(len(points), dtype=bool)
    missing = np.isnan(points).any(axis=1)
    rest: NDArray[np.bool_] = np.logical_not(missing)
    scaled = _scale(points, rest)
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

    The net begins with ``start``. The next row is always the one farthest from all rows before it,
    or the earlier of two that are equally far.

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


def _scale(points: NDArray[np.float64], whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ``points`` as shares of each objective's range over the ``whole`` rows."""
    if not whole.any():
        return points
    low, high = points[whole].min(axis=0), points[whole].max(axis=0)
    with np.errstate(invalid="ignore"):  # epsilon may be infinite: it then has no range
        finite = np.isfinite(high - low) & (high > low)
        spread = np.where(finite, high - low, 1.0)
        shares: NDArray[np.float64] = np.where(finite, (points - low) / spread, 0.0)
    return shares
