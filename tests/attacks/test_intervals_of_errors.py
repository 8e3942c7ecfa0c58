"""The intervals of reconstruction errors cover what they claim to, on real errors."""

import numpy as np
import pytest

from raysweep import data
from raysweep.attacks import intervals, metrics

DRAWS = 2000


@pytest.fixture(scope="module")
def errors():
    """Return the errors of class-mean images on 600 real digits: skewed, as errors are."""
    sizes = {"members": 100, "nonmembers": 60, "pool": 600, "validation": 60, "test": 60}
    pool = data.load({"name": "digits", **sizes}, seed=0).pool
    means = np.stack([pool.pixels()[pool.labels == k].mean(axis=0) for k in range(10)])
    return metrics.squared_errors(pool.pixels(), means[pool.labels])


def share_that_covers(truth, drawn):
    return np.mean([x.low <= truth <= x.high for x in drawn])


@pytest.mark.parametrize(("n", "least"), [(20, 0.92), (60, 0.93), (200, 0.94)])
def test_the_interval_of_a_mean_error_covers_the_truth(errors, n, least):
    """The fewer examples, the more does the skew of errors cost."""
    rng = np.random.default_rng(n)
    drawn = [intervals.of_mean(rng.choice(errors, n)) for _ in range(DRAWS)]
    assert least <= share_that_covers(errors.mean(), drawn) <= 0.97


@pytest.mark.parametrize(("n", "others"), [(200, 60), (60, 60), (500, 200)])
def test_the_interval_of_the_gap_covers_the_truth(errors, n, others):
    """Members have errors a tenth lower; their number and their spread differ from nonmembers'."""
    rng = np.random.default_rng(n)
    truth = 0.1 * errors.mean()
    drawn = [
        intervals.of_gap(rng.choice(errors, others), 0.9 * rng.choice(errors, n))
        for _ in range(DRAWS)
    ]
    assert share_that_covers(truth, drawn) == pytest.approx(0.95, abs=0.02)
    assert np.mean([x.low > 0 for x in drawn]) > 0.1  # a gap can be found


def test_a_level_of_its_own(errors):
    wide, narrow = (intervals.of_mean(errors, level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_equal_errors_have_an_interval_of_no_width():
    same = np.full(5, 0.25)
    assert intervals.of_mean(same) == (0.25, 0.25, 0.25)
    assert intervals.of_gap(same, same - 0.125) == (0.125, 0.125, 0.125)
