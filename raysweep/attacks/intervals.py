"""Intervals of the measures of attacks, in closed form: no resampling, no seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from raysweep.training.signals import Floats

FEW = 5  # misordered examples of the smaller side below which an AUC's variance is not trusted

HALVINGS = 30  # of an interval in which a root is searched: to 1e-9


class Interval(NamedTuple):
    """A figure and the two ends of its interval."""

    value: float
    low: float
    high: float

    def columns(self, name: str) -> dict[str, float]:
        """Return the figure and its ends as the columns NAME, NAME_low and NAME_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def proportion(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return successes / n with its exact interval (Clopper & Pearson 1934).

    >>> [round(x, 4) for x in proportion(0, 10)]
    [0.0, 0.0, 0.3085]
    """
    tail = (1 - level) / 2
    low, high = least_rate(successes, n, tail), most_rate(successes, n, tail)
    return Interval(successes / n, float(low), float(high))


def least_rate(events: ArrayLike, n: int, alpha: float) -> Floats:
    """Return the lower bound of each rate of ``n``, wrong with a chance of ``alpha``."""
    k = np.asarray(events, dtype=np.float64)
    some = np.maximum(k, 1)
    return np.where(k > 0, special.betaincinv(some, n - some + 1, alpha), 0.0)


def most_rate(events: ArrayLike, n: int, alpha: float) -> Floats:
    """Return the upper bound of each rate of ``n``, wrong with a chance of ``alpha``."""
    k = np.asarray(events, dtype=np.float64)
    return np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - alpha), 1.0)


def wilson(p: float, n: int, level: float) -> tuple[float, float]:
    """Return the score interval of a proportion ``p`` of ``n`` (Wilson 1927)."""
    z = normal_quantile(level)
    centre = p + z * z / (2 * n)
    spread = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def normal_quantile(level: float) -> float:
    """Return how many standard deviations a central interval of ``level`` reaches."""
    return float(special.ndtri((1 + level) / 2))


def of_mean(figures: Floats, level: float = 0.95) -> Interval:
    """Return the mean of at least two ``figures``, (n,), with Student's interval (1908).

    >>> [round(x, 3) for x in of_mean(np.array([0.0, 1.0, 2.0]))]
    [1.0, -1.484, 3.484]
    """
    n, mean = len(figures), float(np.mean(figures))
    half = float(special.stdtrit(n - 1, (1 + level) / 2) * np.std(figures, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def of_gap(figures: Floats, others: Floats, level: float = 0.95) -> Interval:
    """Return mean(figures) - mean(others), at least two of each, with Welch's interval (1947).

    >>> [round(x, 3) for x in of_gap(np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.267, 4.267]
    """
    of_one, of_other = (x.var(ddof=1) / len(x) for x in (figures, others))
    variance = of_one + of_other
    split = of_one**2 / (len(figures) - 1) + of_other**2 / (len(others) - 1)
    freedom = variance**2 / split if split > 0 else 1.0

    gap = float(figures.mean() - others.mean())
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * np.sqrt(variance)
    return Interval(gap, float(gap - reach), float(gap + reach))


def crossed_variance(cells: Floats) -> tuple[float, float]:
    """Return the variance of the mean of ``cells`` (rows, columns), and its degrees of freedom.

    Rows and columns are both samples, such as models and examples, so that cells which share one
    are not independent. The variances of the means of rows and of columns both hold that of a
    single cell, which is taken off once (Owen 2007). The degrees are Satterthwaite's (1946).
    """
    n_rows, n_columns = cells.shape
    of_rows, of_columns = cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - of_rows[:, None] - of_columns + cells.mean()
    by_rows = float(of_rows.var(ddof=1)) / n_rows
    by_columns = float(of_columns.var(ddof=1)) / n_columns
    by_cells = float((rest**2).sum()) / ((n_rows - 1) * (n_columns - 1)) / cells.size

    variance = max(by_rows + by_columns - by_cells, by_rows, by_columns)
    split = by_rows**2 / (n_rows - 1) + by_columns**2 / (n_columns - 1)
    return variance, variance**2 / split if split > 0 else float(n_columns - 1)


def of_crossed_mean(cells: Floats, level: float = 0.95) -> Interval:
    """Return the mean of figures or rates (rows, columns) with Student's interval.

    Rows and columns are both samples, see :func:`crossed_variance`.
    """
    mean, (variance, freedom) = float(cells.mean()), crossed_variance(cells)
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * np.sqrt(variance)
    return Interval(mean, float(mean - reach), float(mean + reach))


def of_crossed_share(cells: Floats, level: float = 0.95, *, n: int | None = None) -> Interval:
    """Return the mean of ``cells`` (rows, columns) with its interval on the scale of log-odds.

    The mean is in [0, 1], such as an accuracy or an AUC. Where fewer than FEW of ``n`` examples, by
    default the columns, are wrong, the interval is at least that of a proportion of these.
    """
    mean, (variance, freedom) = min(max(float(cells.mean()), 0.0), 1.0), crossed_variance(cells)
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * np.sqrt(variance)
    low, high = _of_log_odds(mean, reach)

    n = n or cells.shape[1]
    if min(mean, 1 - mean) * n < FEW:
        _, exact_low, exact_high = proportion(round(mean * n), n, level)
        low, high = min(low, exact_low), max(high, exact_high)
    return Interval(mean, low, high)


def of_auc(members: Floats, nonmembers: Floats, level: float = 0.95) -> Interval:
    """Return an AUC with its interval from the placements of members and of nonmembers.

    A member's placement, in [0, 1], is the share of nonmembers below it, and a nonmember's is the
    share of members above it; the AUC is the mean of either. Their variances give that of the AUC
    (DeLong et al. 1988), on the scale of its log-odds. Where fewer than FEW examples of the smaller
    side are out of order, the interval is widened to the score interval of Newcombe 2006 (method
    5), which has a width even when the scores are separated.
    """
    area, n = float(members.mean()), min(len(members), len(nonmembers))
    error = np.sqrt(_variance(members) + _variance(nonmembers))
    ends = _of_log_odds(area, normal_quantile(level) * error)
    if min(area, 1 - area) * n < FEW:
        wide = _newcombe(area, len(members), len(nonmembers), level)
        ends = min(ends[0], wide[0]), max(ends[1], wide[1])
    return Interval(area, *ends)


def _variance(placements: Floats) -> float:
    """Return the variance of the mean of ``placements``."""
    if len(placements) < 2:
        return 0.25
    return float(placements.var(ddof=1) / len(placements))


def _of_log_odds(share: float, reach: float) -> tuple[float, float]:
    """Return the ends of ``share`` +- ``reach``, made symmetric on the scale of log-odds."""
    if not 0 < share < 1:
        return share, share
    reach, odds = reach / (share * (1 - share)), special.logit(share)
    return float(special.expit(odds - reach)), float(special.expit(odds + reach))


def _newcombe(area: float, n_members: int, n_nonmembers: int, level: float) -> tuple[float, float]:
    """Return the areas that are a normal quantile away from ``area``, by their own variance."""
    z, others = normal_quantile(level), (n_members + n_nonmembers) / 2 - 1

    def is_outside(guess: float) -> bool:
        spread = 1 + others * (1 - guess) / (2 - guess) + others * guess / (1 + guess)
        variance = guess * (1 - guess) * spread / (n_members * n_nonmembers)
        return bool(abs(area - guess) > z * np.sqrt(variance))

    return _border(is_outside, 0.0, area), _border(is_outside, 1.0, area)


def _border(is_outside: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return where ``is_outside`` turns between two points, the outer one if nowhere."""
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        if is_outside(middle):
            outside = middle
        else:
            inside = middle
    return outside


def of_tpr(
    members_above: NDArray[np.int64], n_members: int, fpr: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the true-positive rate at a false-positive rate of ``fpr``.

    ``members_above`` (nonmembers,) counts the members that score above each nonmember, the highest
    nonmember first. How many of n nonmembers lie above the true threshold is binomial (n, fpr), so
    the threshold is not taken for given: each count has its weight and its rate of members, with
    Jeffreys' distribution (Brown et al. 2001), and the interval is that of their mixture.
    """
    n = len(members_above)
    counts, weights = _binomial(n, fpr)

    # Between two nonmembers the threshold may lie anywhere, so take half of the members there.
    edges = np.concatenate([[0], members_above, [n_members]])
    hits = (edges[counts] + edges[counts + 1]) / 2

    def quantile(share: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = weights @ special.betainc(hits + 0.5, n_members - hits + 0.5, middle)
            low, high = (middle, high) if below < share else (low, middle)
        return low

    return quantile((1 - level) / 2), quantile((1 + level) / 2)


def _binomial(n: int, rate: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the counts that a binomial (n, rate) may have, and the probability of each."""
    counts = np.arange(n + 1)
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    weights = np.exp(ways + special.xlogy(counts, rate) + special.xlog1py(n - counts, -rate))
    likely = weights > 1e-12
    return counts[likely], weights[likely] / weights[likely].sum()
