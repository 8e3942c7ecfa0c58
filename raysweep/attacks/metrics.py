"""Measures of attacks, in NumPy without torch; their intervals are in ``intervals``.

A higher score means that an example is more likely a member. An AUC below 0.5 is reported as it
is, never flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import intervals
from raysweep.attacks.intervals import Interval
from raysweep.errors import NotFinite
from raysweep.training.signals import Floats

Bools = NDArray[np.bool_]

FPRS = {"0_001": 0.001, "0_01": 0.01, "0_1": 0.1}
"""End of a column's name -> the false-positive rate at which it is measured."""

TAIL_FNR = 0.02
"""The share of members that may lie beyond the tail of their losses."""

TPR_NEEDS = 10  # false positives that are expected where a true-positive rate is measured


@dataclass(frozen=True, kw_only=True)
class TprAtFpr:
    """A true-positive rate, and the false-positive rate at which it was measured."""

    tpr: Interval
    realised_fpr: float


def auc(scores: Floats, is_member: Bools) -> float:
    """Return P(member's score > nonmember's), ties counting one half (Mann & Whitney 1947).

    >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875

    Raises:
        NotFinite: a score is not a number, so that it has no rank.

    """
    if np.isnan(scores).any():
        raise NotFinite("an AUC needs scores that are numbers")
    return float(placements(scores, is_member)[0].mean())


def roc(scores: Floats, is_member: Bools) -> tuple[Floats, Floats]:
    """Return the false- and true-positive rates of all thresholds, from (0, 0) to (1, 1).

    Equal scores are one slanted step, so that the area below is :func:`auc`.

    >>> roc(np.array([0.9, 0.4, 0.1]), np.array([True, True, False]))[1].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    values, group = np.unique(-scores, return_inverse=True)
    n_values = len(values)

    def rates(which: Bools) -> Floats:
        counts = np.bincount(group[which], minlength=n_values)
        return np.append(0.0, np.cumsum(counts) / counts.sum())

    return rates(~is_member), rates(is_member)


def auc_interval(
    scores: Floats | Sequence[Floats], is_member: Bools, *, level: float = 0.95
) -> Interval:
    """Return the AUC with its interval, see :func:`raysweep.attacks.intervals.of_auc`.

    For several attacks' ``scores`` of the same examples, it is that of the mean of their AUCs.
    """
    each = [scores] if isinstance(scores, np.ndarray) else scores
    pairs = [placements(one, is_member) for one in each]
    members, nonmembers = (np.mean(side, axis=0) for side in zip(*pairs, strict=True))
    return intervals.of_auc(members, nonmembers, level)


def placements(scores: Floats, is_member: Bools) -> tuple[Floats, Floats]:
    """Return the share of nonmembers below each member, and of members above each nonmember.

    They are (members,) and (nonmembers,), each with the AUC as its mean; ties count one half.
    """
    members, nonmembers = scores[is_member], scores[~is_member]
    return _shares_below(members, nonmembers), 1 - _shares_below(nonmembers, members)


def _shares_below(values: Floats, others: Floats) -> Floats:
    """Return the share of ``others`` that is below each of ``values``, ties counting one half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    shares: Floats = (below + up_to) / 2 / len(others)
    return shares


def null_auc(
    scores: Sequence[Floats],
    is_member: Bools,
    *,
    choose: Callable[[Floats], float],
    seed: int,
    draws: int = 400,
) -> tuple[float, float]:
    """Return the mean and the 95 % quantile of an AUC if nothing leaked.

    ``choose`` makes one figure of the AUCs of several attacks, such as the largest. The largest is
    above 0.5 by chance, so 0.5 is not its zero. The attacks' ``scores`` stay, and the membership is
    permuted ``draws`` times.
    """
    rng, n_members = np.random.default_rng(seed), int(is_member.sum())
    ranks = np.stack([ranks_of(one) for one in scores])

    n_nonmembers = len(is_member) - n_members
    figures = np.empty(draws)
    for i in range(draws):
        chosen = rng.permutation(len(is_member))[:n_members]
        areas = (ranks[:, chosen].mean(axis=1) - (n_members + 1) / 2) / n_nonmembers
        figures[i] = choose(areas)
    return float(figures.mean()), float(np.quantile(figures, 0.95))


def ranks_of(scores: Floats) -> Floats:
    """Return the rank of each score from 1 up; equal scores share the mean of theirs."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks


def advantage(scores: Floats, is_member: Bools, threshold: float, level: float = 0.95) -> Interval:
    """Return TPR - FPR of "member when score >= threshold", in [-1, 1] (Yeom et al. 2018).

    ``threshold`` must have been set without the judged examples. The interval is Newcombe's
    hybrid score interval for a difference of proportions (Newcombe 1998, method 10).
    """
    flagged = scores >= threshold
    tpr, fpr = float(flagged[is_member].mean()), float(flagged[~is_member].mean())

    t_low, t_high = intervals.wilson(tpr, int(is_member.sum()), level)
    f_low, f_high = intervals.wilson(fpr, int((~is_member).sum()), level)
    gap = tpr - fpr
    low = gap - np.hypot(tpr - t_low, f_high - fpr)
    high = gap + np.hypot(t_high - tpr, fpr - f_low)
    return Interval(gap, max(-1.0, float(low)), min(1.0, float(high)))


def advantage_oracle(scores: Floats, is_member: Bools) -> float:
    """Return the largest TPR - FPR over all thresholds, >= 0.

    The threshold is chosen on the examples that it is measured on, so the figure is biased up.
    """
    values, group = np.unique(scores, return_inverse=True)
    members = np.bincount(group[is_member], minlength=len(values))
    nonmembers = np.bincount(group[~is_member], minlength=len(values))
    tpr = 1 - np.cumsum(members) / members.sum()
    fpr = 1 - np.cumsum(nonmembers) / nonmembers.sum()
    return max(0.0, float((tpr - fpr).max()))


def nonmembers_for(fpr: float) -> int:
    """Return how many nonmembers a true-positive rate at ``fpr`` needs: TPR_NEEDS / fpr.

    >>> nonmembers_for(0.01)
    1000
    """
    return ceil(TPR_NEEDS / fpr - 1e-9)


def tpr_at_fpr(
    scores: Floats, is_member: Bools, fpr: float, *, seed: int, level: float = 0.95
) -> TprAtFpr | None:
    """Return the TPR at the largest false-positive rate <= ``fpr`` that n nonmembers can have.

    Ties are broken at random by ``seed``. The interval does not take the threshold for given, see
    :func:`raysweep.attacks.intervals.of_tpr`. Return None if fewer than TPR_NEEDS false positives
    are expected: the threshold, and with it the figure, would be known too badly.
    """
    n_members, n_nonmembers = int(is_member.sum()), int((~is_member).sum())
    if n_nonmembers < nonmembers_for(fpr):
        return None

    rate, allowed, above = _point(scores, is_member, fpr, seed=seed)
    low, high = intervals.of_tpr(above, n_members, fpr, level)
    tpr = Interval(rate, min(low, rate), max(high, rate))
    return TprAtFpr(tpr=tpr, realised_fpr=allowed / n_nonmembers)


def ppv(tpr: float, fpr: float, prior: float) -> float:
    """Return the share of members among those called members (Jayaraman et al. 2021).

    ``prior``, in (0, 1), is the share of members among all that an attacker asks about.

    >>> round(ppv(0.05, 0.001, prior=0.01), 3)
    0.336
    """
    hits = prior * tpr
    return hits / (hits + (1 - prior) * fpr)


def tail(odds: Floats, is_member: Bools, *, seed: int, level: float = 0.95) -> Interval | None:
    """Return the share of nonmembers whose loss is beyond that of all but TAIL_FNR of the members.

    ``odds`` are the log-odds of the labels, which fall as the loss rises. Training takes members
    out of the tail of high losses, so that the figure rises with leakage and needs no reference
    models (Dodd et al. 2025). It is TAIL_FNR by chance. Return None with too few members, see
    :func:`tpr_at_fpr`.
    """
    point = tpr_at_fpr(-odds, ~is_member, TAIL_FNR, seed=seed, level=level)
    return None if point is None else point.tpr


def tail_share(odds: Floats, is_member: Bools, *, seed: int) -> float:
    """Return the :func:`tail` without an interval, with however few members."""
    return _point(-odds, ~is_member, TAIL_FNR, seed=seed)[0]


def tpr_band(
    scores: Floats, is_member: Bools, *, seed: int, level: float = 0.95, points: int = 25
) -> tuple[Floats, Floats, Floats]:
    """Return false-positive rates from 1 / nonmembers to 1, and the interval of the TPR at each.

    Each interval is that of :func:`tpr_at_fpr`; together they cover less often than ``level``.
    """
    n_members, n_nonmembers = int(is_member.sum()), int((~is_member).sum())
    *_, above = _point(scores, is_member, 1.0, seed=seed)
    rates = np.geomspace(1 / n_nonmembers, 1, points)
    ends = [intervals.of_tpr(above, n_members, rate, level) for rate in rates]
    low, high = np.array(ends).T
    return rates, low, high


def mean_tpr(scores: Floats, is_member: Bools, fpr: float, *, seed: int) -> float | None:
    """Return the mean over models of :func:`tpr_at_fpr`, each with a threshold of its own.

    ``scores`` and ``is_member`` are (models, n). It is None where it is for one of them.
    """
    if (~is_member).sum(axis=1).min() < nonmembers_for(fpr):
        return None
    pairs = zip(scores, is_member, strict=True)
    return float(np.mean([_point(one, member, fpr, seed=seed)[0] for one, member in pairs]))


def _point(
    scores: Floats, is_member: Bools, fpr: float, *, seed: int
) -> tuple[float, int, NDArray[np.int64]]:
    """Return the TPR, its false positives, and how many members are above each nonmember."""
    tie_break = np.random.default_rng(seed).random(len(scores))
    falling = is_member[np.lexsort((tie_break, scores))[::-1]]
    above = np.cumsum(falling, dtype=np.int64)[~falling]

    allowed = int(np.floor(fpr * len(above) + 1e-9))
    hits = above[allowed] if allowed < len(above) else falling.sum()
    return float(hits / falling.sum()), allowed, above


def relative_gap(
    members: Floats, nonmembers: Floats, *, seed: int, level: float = 0.95, resamples: int = 1000
) -> Interval:
    """Return (mean over nonmembers - mean over members) / mean over nonmembers.

    All figures are > 0. The interval is a percentile bootstrap, with members and
    nonmembers resampled separately.

    >>> relative_gap(np.array([1.0, 1.0]), np.array([4.0, 4.0]), seed=0)
    Interval(value=0.75, low=0.75, high=0.75)
    """
    rng = np.random.default_rng(seed)

    def means(figures: Floats) -> Floats:
        n = len(figures)
        return np.array([figures[rng.integers(n, size=n)].mean() for _ in range(resamples)])

    draws = 1 - means(members) / means(nonmembers)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(1 - members.mean() / nonmembers.mean()), float(low), float(high))


def squared_errors(images: NDArray[np.floating], originals: NDArray[np.floating]) -> Floats:
    """Return each image's mean squared error over pixels, (n,), in [0, 1].

    A single original is compared with every image.

    >>> squared_errors(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[0.0, 0.0]]))
    array([0.5, 1. ])
    """
    gap = np.asarray(images, dtype=np.float64) - np.asarray(originals, dtype=np.float64)
    errors: Floats = np.mean(gap.reshape(len(gap), -1) ** 2, axis=1)
    return errors


def mean_squared_error(images: NDArray[np.floating], originals: NDArray[np.floating]) -> float:
    """Return the mean squared error over pixels and images, each pixel in [0, 1]."""
    return float(squared_errors(images, originals).mean())


def _gaussian_band(size: int, window: int, sigma: float = 1.5) -> Floats:
    """Return the (size - window + 1, size) matrix that averages with a Gaussian window."""
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    band = np.zeros((size - window + 1, size))
    for row in range(len(band)):
        band[row, row : row + window] = weights
    return band


def ssim(images: NDArray[np.floating], originals: NDArray[np.floating]) -> float:
    """Return the mean of :func:`similarities`."""
    return float(similarities(images, originals).mean())


def similarities(images: NDArray[np.floating], originals: NDArray[np.floating]) -> Floats:
    """Return each image's structural similarity, (n,), of (n, c, h, w) in [0, 1]; 1 when equal.

    Gaussian window of 11 pixels (the largest odd size that fits smaller images), sigma 1.5,
    K1 = 0.01, K2 = 0.03, no padding (Wang et al. 2004).
    """
    x, y = np.asarray(images, dtype=np.float64), np.asarray(originals, dtype=np.float64)
    height, width = x.shape[-2:]
    window = min(11, height - 1 + height % 2, width - 1 + width % 2)
    rows, columns = _gaussian_band(height, window), _gaussian_band(width, window).T

    mean_x, mean_y = rows @ x @ columns, rows @ y @ columns
    var_x = rows @ (x * x) @ columns - mean_x**2
    var_y = rows @ (y * y) @ columns - mean_y**2
    both = rows @ (x * y) @ columns - mean_x * mean_y

    c1, c2 = 0.01**2, 0.03**2
    numerator = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    local = numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    similarity: Floats = local.mean(axis=(1, 2, 3))
    return similarity
