import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysweep.records.pareto import epsilon_net, front_mask, leading

POINTS = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 4))
DIRECTIONS = ["max", "min", "max"]


def depths(values):
    """Return the number of the front that each row stands on, peeled one by one."""
    found = np.full(len(values), -1)
    for depth in range(len(values)):
        rest = np.flatnonzero(found < 0)
        found[rest[front_mask(values[rest], DIRECTIONS)]] = depth
    return found


@given(POINTS, st.integers(0, 14))
def test_a_whole_front_comes_before_the_next_one(values, n):
    chosen = leading(values, DIRECTIONS, n)
    assert chosen.sum() == min(n, len(values))
    depth = depths(values)
    if chosen.any() and not chosen.all():
        assert depth[chosen].max() <= depth[~chosen].min()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True), st.integers(1, 20))
def test_with_one_objective_the_best_rows_come_first(values, n):
    chosen = leading([[value] for value in values], ["min"], n)
    assert sorted(np.array(values)[chosen].tolist()) == sorted(values)[:n]


def test_a_net_over_a_line_halves_its_widest_gap():
    line = np.arange(9.0)[:, None]
    assert epsilon_net(line, 3, start=0) == [0, 8, 4]
    assert set(epsilon_net(line, 5, start=0)) == {0, 2, 4, 6, 8}
    assert sorted(epsilon_net(line, 20, start=3)) == list(range(9))


@given(POINTS)
def test_a_net_gets_denser_with_every_row(points):
    order = epsilon_net(points, len(points), start=0)
    assert sorted(order) == list(range(len(points)))
    gaps = [
        np.linalg.norm(points[order[:i]] - points[row], axis=1).min()
        for i, row in enumerate(order)
        if i
    ]
    assert gaps == sorted(gaps, reverse=True)


def test_of_one_front_the_best_row_and_the_farthest_from_it_come_first():
    front = [[0.9, 0.6], [0.88, 0.58], [0.5, 0.5], [0.7, 0.55]]
    assert leading(front, ["max", "min"], 1).tolist() == [True, False, False, False]
    assert leading(front, ["max", "min"], 2).tolist() == [True, False, True, False]
    assert leading(front, ["max", "min"], 3).tolist() == [True, False, True, True]


def test_the_units_of_an_objective_do_not_matter():
    values = np.random.default_rng(0).random((40, 3))
    scaled = values * [1.0, 1000.0, 0.001] + [0.0, 5.0, 0.0]
    assert np.array_equal(leading(values, DIRECTIONS, 13), leading(scaled, DIRECTIONS, 13))


def test_missing_figures_come_last_in_their_order():
    values = [[np.nan, 1.0], [0.1, 0.9], [0.5, np.nan], [0.9, 0.1]]
    assert leading(values, ["max", "max"], 2).tolist() == [False, True, False, True]
    assert leading(values, ["max", "max"], 3).tolist() == [True, True, False, True]


@pytest.mark.parametrize("epsilons", [[np.inf, 2.0, 8.0], [np.inf] * 3])
def test_an_infinite_figure_is_only_a_bad_one(epsilons):
    values = [
        [accuracy, epsilon] for accuracy, epsilon in zip([0.9, 0.5, 0.7], epsilons, strict=True)
    ]
    assert leading(values, ["max", "min"], 1).tolist() == [True, False, False]


def test_ten_thousand_trials_are_compared_in_a_second():
    values = np.random.default_rng(0).random((10_000, 3))
    assert leading(values, DIRECTIONS, 3_334).sum() == 3_334
