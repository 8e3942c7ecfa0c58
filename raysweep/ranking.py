"""Which points come first when nobody beats everybody. Pure NumPy, any number of objectives.

Front by front (non-dominated sorting, Deb et al. 2002); within a front by an epsilon-net, which
takes the points that lie farthest apart first (Clarkson 2006; Schmucker et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysweep.pareto import front_mask


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
