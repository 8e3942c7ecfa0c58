"""Figures of K models on halves of the same examples: closed forms, ties, and what they cover."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raysweep.attacks import intervals, metrics, recipe_metrics


def halves(rng, k=8, n=60):
    """Which examples trained which model (k, n): random halves, each before its complement."""
    first = np.argsort(rng.random((k // 2, n)), axis=1) < n // 2
    return np.stack([first, ~first], axis=1).reshape(k, n)


def test_a_memoriser_is_found_out_completely():
    rng = np.random.default_rng(0)
    inside = halves(rng, n=300)
    scores = inside + 0.1 * rng.random(inside.shape)
    assert recipe_metrics.mean_auc(scores, inside).value == 1
    assert 0.98 < recipe_metrics.mean_auc(scores, inside).low < 1
    assert recipe_metrics.pooled_tpr(scores, inside, 0.01, seed=0).tpr.value == 1
    assert metrics.mean_tpr(scores, inside, 0.1, seed=0) == 1


def test_the_auc_is_the_mean_of_the_models_aucs_with_ties_as_one_half():
    rng = np.random.default_rng(1)
    inside = halves(rng)
    scores = np.round(rng.normal(size=inside.shape) + inside, 1)
    each = [metrics.auc(row, members) for row, members in zip(scores, inside, strict=True)]
    assert recipe_metrics.mean_auc(scores, inside).value == pytest.approx(np.mean(each), abs=1e-12)


def test_scores_that_are_all_equal_say_nothing():
    inside = halves(np.random.default_rng(2), n=200)
    scores = np.zeros(inside.shape)
    area = recipe_metrics.mean_auc(scores, inside)
    assert (area.value, area.low <= 0.5 <= area.high) == (0.5, True)
    assert recipe_metrics.pooled_tpr(scores, inside, 0.1, seed=0).tpr.value == pytest.approx(
        0.1, abs=0.05
    )


@pytest.mark.parametrize(("k", "n"), [(4, 60), (16, 60)])
def test_the_interval_of_the_auc_covers_one_half_where_nothing_leaks(k, n):
    """Examples differ in difficulty and models in confidence: decisions are not independent."""
    rng, covered, repeats = np.random.default_rng(3), 0, 200
    for _ in range(repeats):
        inside = halves(rng, k, n)
        own = rng.normal(0, 1, (k, n))
        scores = rng.normal(0, 2, n) + rng.normal(0, 1, (k, 1)) + own
        area = recipe_metrics.mean_auc(scores, inside)
        covered += area.low <= 0.5 <= area.high
    assert covered / repeats >= 0.92


@pytest.mark.slow
def test_the_interval_of_the_pooled_tpr_covers_the_truth():
    from scipy.stats import norm

    rng, covered, truth = np.random.default_rng(4), 0, norm.sf(norm.isf(0.1) - 0.5)
    for seed in range(100):
        inside = halves(rng, 8, 100)
        scores = 0.6 * rng.normal(size=100) + 0.8 * rng.normal(size=inside.shape) + 0.5 * inside
        found = recipe_metrics.pooled_tpr(scores, inside, 0.1, seed=seed)
        covered += found.tpr.low <= truth <= found.tpr.high
    assert covered >= 92


def test_ten_false_positives_are_counted_over_all_decisions():
    rng = np.random.default_rng(5)
    inside = halves(rng, k=8, n=60)  # 240 decisions on nonmembers
    scores = rng.normal(size=inside.shape)
    assert recipe_metrics.pooled_tpr(scores, inside, 0.1, seed=0) is not None
    assert recipe_metrics.pooled_tpr(scores, inside, 0.01, seed=0) is None
    assert metrics.mean_tpr(scores, inside, 0.1, seed=0) is None


def test_the_advantage_is_the_mean_of_the_models_at_their_own_thresholds():
    rng = np.random.default_rng(6)
    inside = halves(rng)
    scores, thresholds = rng.normal(size=inside.shape) + inside, rng.normal(size=8)
    each = [
        (row[m] >= t).mean() - (row[~m] >= t).mean()
        for row, m, t in zip(scores, inside, thresholds, strict=True)
    ]
    found = recipe_metrics.mean_advantage(scores, inside, thresholds)
    assert found.value == pytest.approx(np.mean(each))
    assert -1 <= found.low < found.value < found.high <= 1


def test_the_zero_of_the_strongest_is_what_other_halves_give():
    rng = np.random.default_rng(7)
    scores = [rng.normal(size=(8, 60)) for _ in range(3)]
    null, high = recipe_metrics.null_auc(scores, choose=np.max, seed=0)
    naive = [
        max(recipe_metrics.mean_auc(one, inside).value for one in scores)
        for inside in (halves(rng) for _ in range(100))
    ]
    assert null == pytest.approx(np.mean(naive), abs=0.006)
    assert 0.5 < null < high < 0.6


def test_crossed_variance_is_that_of_simulated_tables():
    rng, tables = np.random.default_rng(8), []
    for _ in range(400):
        tables.append(
            0.3 * rng.normal(size=(6, 1)) + rng.normal(size=(1, 40)) + rng.normal(size=(6, 40))
        )
    truth = np.var([table.mean() for table in tables])
    found = np.mean([intervals.crossed_variance(table)[0] for table in tables])
    assert found == pytest.approx(truth, rel=0.2)


def test_a_share_of_one_or_zero_has_an_interval():
    perfect = intervals.of_crossed_share(np.ones((4, 50)))
    assert perfect.value == perfect.high == 1
    assert perfect.low == intervals.proportion(50, 50).low
    nothing = intervals.of_crossed_share(np.zeros((4, 50)))
    assert (nothing.low, nothing.high) == (0, intervals.proportion(0, 50).high)


def test_an_example_is_always_found_if_its_members_are_above_all_others_without_a_tie():
    rng = np.random.default_rng(0)
    inside = halves(rng, k=4)
    scores = np.round(rng.normal(size=inside.shape) + inside, 1)  # with ties
    areas = [
        roc_auc_score(members, of_example)
        for of_example, members in zip(scores.T, inside.T, strict=True)
    ]
    assert recipe_metrics.always_found(scores, inside).value == np.mean(np.equal(areas, 1))


def test_an_example_is_always_found_by_chance_as_rarely_as_counting_says():
    rng = np.random.default_rng(0)
    inside = halves(rng, k=4, n=10_000)
    found = recipe_metrics.always_found(rng.normal(size=inside.shape), inside)
    assert found.value == pytest.approx(1 / 6, abs=0.01)  # one of (4 over 2) orders


def test_the_gap_of_a_subset_is_the_difference_of_two_mean_aucs():
    rng = np.random.default_rng(0)
    inside = halves(rng)
    scores, chosen = rng.normal(size=inside.shape) + inside, np.arange(60) < 20
    one, other = (
        recipe_metrics.mean_auc(scores[:, some], inside[:, some]).value
        for some in (chosen, ~chosen)
    )
    gap = recipe_metrics.auc_gap(scores, inside, chosen)
    assert gap.value == pytest.approx(one - other)
    assert gap.low < gap.value < gap.high


def test_where_no_subset_stands_out_a_gap_is_found_as_rarely_as_stated():
    """Five subsets, of 100 sets of models: their gaps are corrected for five."""
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(100):
        inside = halves(rng, 8, 150)
        scores = rng.normal(0, 1, 150) + rng.normal(0, 1, inside.shape) + 0.5 * inside
        gaps = [
            recipe_metrics.auc_gap(scores, inside, np.arange(150) % 5 == i, level=0.99)
            for i in range(5)
        ]
        wrong += any(gap.low > 0 or gap.high < 0 for gap in gaps)
    assert wrong <= 9


def test_counting_near_the_threshold_changes_no_interval(monkeypatch):
    rng = np.random.default_rng(0)
    inside = halves(rng, k=8, n=500)
    of_model = 3 * rng.normal(size=(8, 1))  # the highest scores are those of few models
    scores = rng.normal(size=inside.shape) + inside + of_model
    near = [recipe_metrics.pooled_tpr(scores, inside, fpr, seed=1) for fpr in (0.01, 0.1)]

    monkeypatch.setattr(recipe_metrics, "REACH", np.inf)
    assert near == [recipe_metrics.pooled_tpr(scores, inside, fpr, seed=1) for fpr in (0.01, 0.1)]
