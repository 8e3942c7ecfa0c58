"""Measures of an attack on K models of one recipe, each trained on half of the same n examples.

``scores`` (K, n) are an attack's, and ``inside`` (K, n) says which examples trained which model.
Models come in pairs: the second is trained on the half that the first was not trained on. An
example that looks like a member to both is then counted once as a member and once as none. So a
pair is the unit that is taken for one draw, and intervals are over pairs and examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import intervals, metrics, parts
from raysweep.attacks.intervals import Interval
from raysweep.attacks.metrics import TprAtFpr
from raysweep.training.signals import Floats

Bools = NDArray[np.bool_]

Counts = NDArray[np.float32]  # whole numbers, exact up to 2**24

DRAWS = 400

REACH = 3  # at an FPR of 1 %, down to the score that 3 % of the nonmembers exceed

MOST_AT_ONCE = 4_000_000
"""Weights of a bootstrap that are held in memory at once."""


def mean_auc(scores: Floats | Sequence[Floats], inside: Bools, *, level: float = 0.95) -> Interval:
    """Return the mean over models of each model's AUC, with its interval.

    For several attacks' ``scores`` it is that of the mean of their AUCs.
    """
    each = [scores] if isinstance(scores, np.ndarray) else scores
    cells = np.mean([parts.of_auc(one, inside) for one in each], axis=0)
    return intervals.of_crossed_share(by_pair(cells), level)


def mean_advantage(
    scores: Floats, inside: Bools, thresholds: Floats, *, level: float = 0.95
) -> Interval:
    """Return the mean over models of TPR - FPR at each model's own threshold (K,)."""
    cells = parts.of_advantage(scores, inside, thresholds)
    value, low, high = intervals.of_crossed_mean(by_pair(cells), level)
    return Interval(value, max(-1.0, low), min(1.0, high))


def by_pair(cells: Floats) -> Floats:
    """Return the means (K / 2, n) of the cells of two models that belong together."""
    pairs: Floats = (cells[0::2] + cells[1::2]) / 2
    return pairs


def always_found(scores: Floats, inside: Bools) -> Interval:
    """Return the share of examples that all models give away, with its interval over examples.

    Of those every model that was trained on them has a higher score than every other model.
    """
    least = np.where(inside, scores, np.inf).min(axis=0)
    most = np.where(inside, -np.inf, scores).max(axis=0)
    return intervals.proportion(int((least > most).sum()), scores.shape[1])


def auc_gap(scores: Floats, inside: Bools, chosen: Bools, *, level: float = 0.95) -> Interval:
    """Return :func:`mean_auc` among the ``chosen`` of n examples less that among the others.

    Both are of the same models, so that the interval is over differences of pairs of models.
    """
    areas = [parts.of_auc(scores[:, some], inside[:, some]) for some in (chosen, ~chosen)]
    gap = areas[0].mean() - areas[1].mean()
    cells = np.empty(scores.shape)
    for sign, some, of in zip((1, -1), (chosen, ~chosen), areas, strict=True):
        cells[:, some] = gap + sign * (of - of.mean()) * len(chosen) / some.sum()
    value, low, high = intervals.of_crossed_mean(by_pair(cells), level)
    return Interval(value, max(-1.0, low), min(1.0, high))


def pooled_tpr(
    scores: Floats, inside: Bools, fpr: float, *, seed: int, level: float = 0.95
) -> TprAtFpr | None:
    """Return the TPR at one threshold for all K x n decisions, with its interval.

    See :func:`raysweep.attacks.metrics.tpr_at_fpr`, also for when it is None. The interval is the
    percentile bootstrap over pairs and examples, and at least that of independent decisions.
    """
    point = metrics.tpr_at_fpr(scores.ravel(), inside.ravel(), fpr, seed=seed, level=level)
    if point is None:
        return None
    draws = _resampled_tprs(scores, inside, fpr, seed=seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    value, least, most = point.tpr
    interval = Interval(value, min(float(low), least), max(float(high), most))
    return TprAtFpr(tpr=interval, realised_fpr=point.realised_fpr)


def _resampled_tprs(scores: Floats, inside: Bools, fpr: float, *, seed: int) -> Floats:
    """Return the pooled TPR of DRAWS resamples of pairs and of examples, (DRAWS,).

    Decisions are sorted once, and each resample is a weight for every decision. In each pair an
    example is a member once, so all resamples have as many decisions on members. Few resamples come
    further than REACH times the errors that are allowed; those that do are counted again over all
    decisions.
    """
    n_models, n = scores.shape
    allowed = fpr * n_models * n / 2 + 1e-3
    tie_break = np.random.default_rng(seed).random(scores.size)
    order = np.lexsort((tie_break, scores.ravel()))[::-1]
    near = order[np.cumsum(~inside.ravel()[order]) <= REACH * allowed + 20]

    found = []
    for of_pairs, of_examples in _weights(n_models // 2, n, at_once=len(near), seed=seed):
        counts, is_whole = _members_found(near, inside, of_pairs, of_examples, allowed)
        for draw in np.flatnonzero(~is_whole):
            one = slice(draw, draw + 1)
            counts[one], _ = _members_found(order, inside, of_pairs[one], of_examples[one], allowed)
        found.append(counts)
    tprs: Floats = np.concatenate(found) / (n_models * n / 2)
    return tprs


def _members_found(
    order: NDArray[np.int64], inside: Bools, of_pairs: Counts, of_examples: Counts, allowed: float
) -> tuple[Floats, Bools]:
    """Return how many members stand before more than ``allowed`` nonmembers do, (draws,).

    ``order`` holds decisions by falling score, and the weights are how often each resample draws
    a pair and an example. Also return whether the resample passed ``allowed`` within ``order``.
    """
    n = inside.shape[1]
    pair, example = order // n // 2, order % n
    members = inside.ravel()[order].astype(np.float32)

    weights = of_pairs.take(pair, axis=1) * of_examples.take(example, axis=1)
    wrong = np.cumsum(weights * (1 - members), axis=1)
    found = ((weights * (wrong <= allowed)) @ members).astype(np.float64)
    return found, wrong[:, -1] > allowed


def _weights(n_pairs: int, n: int, *, at_once: int, seed: int) -> Iterator[tuple[Counts, Counts]]:
    """Yield how often each pair (draws, n_pairs) and each example (draws, n) is drawn again."""
    rng = np.random.default_rng(seed)

    def counts(size: int, draws: int) -> Counts:
        drawn = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=draws * size)
        return counted.reshape(draws, size).astype(np.float32)

    pairs = counts(n_pairs, DRAWS)
    block = max(1, min(DRAWS, MOST_AT_ONCE // max(at_once, n)))
    for first in range(0, DRAWS, block):
        part = pairs[first : first + block]
        yield part, counts(n, len(part))


def null_auc(
    scores: Sequence[Floats],
    *,
    choose: Callable[[Floats], float],
    seed: int,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """Return the mean and the 95 % quantile of :func:`mean_auc` if nothing leaked.

    ``choose`` makes one figure of the AUCs of several attacks. The scores stay, and each pair of
    models gets another random half of the examples.
    """
    n_models, n = scores[0].shape
    ranks = np.stack([[metrics.ranks_of(row) for row in one] for one in scores])
    first, second = ranks[:, 0::2].reshape(len(scores), -1), ranks[:, 1::2].reshape(len(scores), -1)

    rng, half = np.random.default_rng(seed), n // 2
    chosen = np.tile(np.arange(n) < half, (n_models // 2, 1))
    figures = np.empty(draws)
    for i in range(draws):
        members = rng.permuted(chosen, axis=1).ravel()
        rank_sum = first @ members + second @ ~members
        figures[i] = choose((rank_sum / n_models - half * (half + 1) / 2) / half**2)
    return float(figures.mean()), float(np.quantile(figures, 0.95))
