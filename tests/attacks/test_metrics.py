import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from raysweep.attacks import intervals, metrics


def shifted_normals(d, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(d, 1, n), rng.normal(0, 1, n)])
    return scores, np.repeat([True, False], n)


@pytest.mark.parametrize("d", [-1.0, 0.0, 0.5, 2.0])
def test_auc_of_shifted_normals_is_their_closed_form(d):
    scores, truth = shifted_normals(d)
    assert metrics.auc(scores, truth) == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=0.015)


def test_auc_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(1)
    scores, truth = rng.integers(0, 5, 300).astype(float), rng.random(300) < 0.3
    assert metrics.auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


@given(st.permutations(list(range(12))))
def test_auc_depends_on_the_order_of_scores_alone(order):
    scores, truth = np.array(order, dtype=float), np.arange(12) % 2 == 0
    assert metrics.auc(np.exp(scores), truth) == metrics.auc(scores, truth)
    assert metrics.auc(-scores, truth) == pytest.approx(1 - metrics.auc(scores, truth))


@given(st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_the_area_below_the_curve_is_the_auc(scores):
    scores, truth = np.array(scores, dtype=float), np.arange(8) % 3 == 0
    fpr, tpr = metrics.roc(scores, truth)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auc(scores, truth))
    assert (np.diff(fpr) >= 0).all()
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("d", "n_members", "n_nonmembers"),
    [(0, 200, 200), (0.5, 150, 150), (1, 500, 100), (3, 200, 200)],
)
def test_the_interval_of_an_auc_covers_the_truth_about_95_times_in_100(d, n_members, n_nonmembers):
    rng, truth = np.random.default_rng(3), np.repeat([True, False], [n_members, n_nonmembers])
    covered = 0
    for _ in range(400):
        scores = rng.normal(size=len(truth)) + d * truth
        area = metrics.auc_interval(scores, truth)
        covered += area.low <= norm.cdf(d / np.sqrt(2)) <= area.high
    assert 0.92 <= covered / 400 <= 0.98


def test_near_one_the_interval_of_an_auc_still_covers_the_truth():
    rng, truth, covered = np.random.default_rng(0), np.repeat([True, False], 200), 0
    for _ in range(300):
        area = metrics.auc_interval(rng.normal(size=400) + 4.07 * truth, truth)  # AUC .998
        covered += area.low <= norm.cdf(4.07 / np.sqrt(2)) <= area.high
    assert covered / 300 >= 0.93

    separated = metrics.auc_interval(np.arange(400.0)[::-1], truth)
    assert (separated.value, separated.high) == (1.0, 1.0)
    assert 0.95 < separated.low < 0.995


def test_the_interval_of_an_auc_is_that_of_delong():
    scores, truth = shifted_normals(0.5, n=300)
    members, nonmembers = scores[truth], scores[~truth]
    wins = (
        (members[:, None] > nonmembers).mean(axis=1),
        (members[:, None] > nonmembers).mean(axis=0),
    )
    error = np.sqrt(sum(np.var(side, ddof=1) / 300 for side in wins))

    area = metrics.auc_interval(scores, truth)
    assert area.value == pytest.approx(metrics.auc(scores, truth), abs=1e-12)
    assert area.high - area.low == pytest.approx(2 * 1.96 * error, rel=0.01)


def test_the_interval_of_a_mean_of_aucs_is_narrower_than_that_of_one():
    scores, truth = shifted_normals(0.5, n=200)
    other = shifted_normals(0.5, n=200, seed=1)[0]
    one, both = metrics.auc_interval(scores, truth), metrics.auc_interval([scores, other], truth)
    mean = (metrics.auc(scores, truth) + metrics.auc(other, truth)) / 2
    assert both.value == pytest.approx(mean, abs=1e-12)
    assert both.high - both.low < 0.8 * (one.high - one.low)


def test_a_corrected_interval_is_wider():
    scores, truth = shifted_normals(0.3, n=200)
    plain = metrics.auc_interval(scores, truth)
    strict = metrics.auc_interval(scores, truth, level=1 - 0.05 / 4)
    assert strict.low < plain.low
    assert plain.high < strict.high


def test_the_null_of_the_strongest_attack_is_what_it_reaches_without_a_leak():
    rng, truth = np.random.default_rng(0), np.repeat([True, False], [500, 200])
    strongest = []
    for _ in range(200):
        scores = rng.normal(size=(4, 700))
        strongest.append(max(metrics.auc(one, truth) for one in scores))
    mean, high = metrics.null_auc(list(scores), truth, choose=np.max, seed=0)

    assert mean == pytest.approx(np.mean(strongest), abs=0.004)
    assert high == pytest.approx(np.quantile(strongest, 0.95), abs=0.008)


def test_the_null_of_a_single_attack_is_one_half():
    scores, truth = shifted_normals(2.0, n=300)
    mean, high = metrics.null_auc([scores], truth, choose=np.max, seed=0)
    assert mean == pytest.approx(0.5, abs=0.003)
    assert 0.52 < high < 0.56


def test_advantage_of_shifted_normals_is_their_closed_form():
    expected, covered = norm.cdf(0.5) - norm.cdf(-0.5), 0
    for seed in range(100):
        gap = metrics.advantage(*shifted_normals(1.0, n=200, seed=seed), threshold=0.5)
        covered += gap.low <= expected <= gap.high
        assert gap.value == pytest.approx(expected, abs=0.2)
    assert 88 <= covered <= 100


def test_the_oracle_is_never_below_the_advantage_at_any_threshold():
    scores, truth = shifted_normals(0.4, n=200)
    oracle = metrics.advantage_oracle(scores, truth)
    assert all(metrics.advantage(scores, truth, t).value <= oracle + 1e-12 for t in scores)


def test_tpr_is_read_off_at_a_realised_fpr_that_does_not_exceed_the_asked_one():
    scores, truth = shifted_normals(1.0, n=2500)
    found = metrics.tpr_at_fpr(scores, truth, 0.01, seed=0)
    assert found.realised_fpr == 0.01
    assert found.tpr.value == pytest.approx(norm.sf(norm.isf(0.01) - 1.0), abs=0.03)
    assert found.tpr.low < found.tpr.value < found.tpr.high


def test_tpr_is_missing_where_the_nonmembers_are_too_few():
    scores, truth = shifted_normals(1.0, n=500)
    assert metrics.tpr_at_fpr(scores, truth, 0.001, seed=0) is None
    assert metrics.tpr_at_fpr(scores, truth, 0.02, seed=0) is not None
    assert metrics.tpr_at_fpr(scores, truth, 0.019, seed=0) is None
    assert [metrics.nonmembers_for(fpr) for fpr in (0.1, 0.01, 0.001)] == [100, 1000, 10000]


@pytest.mark.parametrize(
    ("d", "n_members", "n_nonmembers", "fpr"),
    [
        (1, 500, 200, 0.1),
        (0, 500, 200, 0.1),
        (3, 500, 200, 0.1),
        (0, 2000, 1000, 0.01),
        (1, 2000, 1000, 0.01),
        (3, 1000, 1000, 0.01),
    ],
)
def test_the_interval_of_a_tpr_covers_the_truth_about_95_times_in_100(
    d, n_members, n_nonmembers, fpr
):
    rng, truth = np.random.default_rng(5), np.repeat([True, False], [n_members, n_nonmembers])
    rate, covered = norm.sf(norm.isf(fpr) - d), 0
    for _ in range(250):
        found = metrics.tpr_at_fpr(rng.normal(size=len(truth)) + d * truth, truth, fpr, seed=0)
        covered += found.tpr.low <= rate <= found.tpr.high
    assert 0.92 <= covered / 250 <= 0.99


def test_the_band_of_a_roc_holds_the_intervals_of_its_points():
    scores, truth = shifted_normals(1.0, n=500)
    rates, low, high = metrics.tpr_band(scores, truth, seed=0)
    assert (rates[0], rates[-1]) == (pytest.approx(1 / 500), 1.0)
    tpr = metrics.tpr_at_fpr(scores, truth, float(rates[20]), seed=0).tpr
    assert (low[20], high[20]) == (pytest.approx(tpr.low), pytest.approx(tpr.high))
    assert (high - low)[:-1].min() > 0


def test_ties_do_not_read_as_privacy():
    truth = np.repeat([True, False], 1000)
    found = metrics.tpr_at_fpr(np.zeros(2000), truth, 0.1, seed=0)
    assert found.tpr.value == pytest.approx(0.1, abs=0.03)


def test_exact_interval_of_a_proportion_matches_scipy():
    from scipy.stats import binomtest

    found = intervals.proportion(7, 40)
    exact = binomtest(7, 40).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    rng = np.random.default_rng(0)
    images = rng.random((4, 1, 28, 28))
    noisy = [metrics.ssim((images + s * rng.normal(size=images.shape)), images) for s in (0.1, 0.5)]
    assert metrics.ssim(images, images) == pytest.approx(1.0)
    assert 1 > noisy[0] > noisy[1]


def test_ssim_of_constant_images_is_its_closed_form():
    x, y = np.full((1, 1, 8, 8), 0.2), np.full((1, 1, 8, 8), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert metrics.ssim(x, y) == pytest.approx(expected)


def test_mse_is_the_mean_over_pixels_and_images():
    assert metrics.mean_squared_error(np.zeros((2, 3)), np.full((2, 3), 0.5)) == 0.25


@pytest.mark.slow
def test_the_interval_of_a_relative_gap_holds_the_truth():
    rng = np.random.default_rng(0)
    found = [
        metrics.relative_gap(rng.gamma(2, 1, 200), rng.gamma(2, 2, 200), seed=i) for i in range(60)
    ]
    assert np.mean([low <= 0.5 <= high for _, low, high in found]) >= 0.85


def test_ppv_is_bayes_rule():
    rng = np.random.default_rng(0)
    is_member = rng.random(1_000_000) < 0.02
    is_called = rng.random(len(is_member)) < np.where(is_member, 0.3, 0.01)
    assert metrics.ppv(0.3, 0.01, prior=0.02) == pytest.approx(
        is_member[is_called].mean(), abs=0.01
    )
    assert metrics.ppv(0.01, 0.01, prior=0.02) == pytest.approx(0.02)  # who finds nobody


def test_the_tail_is_the_share_of_nonmembers_beyond_the_members():
    truth = np.repeat([True, False], 500)
    odds = np.concatenate([np.arange(500.0), np.arange(-100.0, 400.0)])
    share = metrics.tail(odds, truth, seed=0)
    assert share.value == pytest.approx(110 / 500)  # below the tenth lowest member
    assert share.low < 110 / 500 < share.high
    assert metrics.tail_share(odds, truth, seed=0) == share.value
    assert metrics.tail(odds[1:], truth[1:], seed=0) is None  # 499 members are too few


def test_without_a_leak_the_tail_is_about_two_percent():
    rng, truth = np.random.default_rng(0), np.repeat([True, False], 500)
    shares = [metrics.tail_share(rng.normal(size=1000), truth, seed=0) for _ in range(400)]
    assert np.mean(shares) == pytest.approx(11 / 501, abs=0.002)  # of an order statistic
