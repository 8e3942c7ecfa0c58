import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysweep.pareto import front_mask, hypervolume

POINTS = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 4))
DIRECTIONS = ["max", "min", "max"]


def slow_front(values, directions):
    signs = [-1 if d == "max" else 1 for d in directions]
    losses = values * signs
    return [not any((b <= a).all() and (b < a).any() for b in losses) for a in losses]


@given(POINTS)
def test_the_front_is_that_of_the_definition(values):
    assert front_mask(values, DIRECTIONS).tolist() == slow_front(values, DIRECTIONS)


@given(POINTS)
def test_the_hypervolume_is_the_share_of_a_grid_that_is_dominated(values):
    reference = [-1.0, 5.0, -1.0]
    cells = np.stack(np.meshgrid(*[np.arange(-1, 5) + 0.5] * 3, indexing="ij"), -1).reshape(-1, 3)
    inside = [any(p[0] >= c[0] and p[1] <= c[1] and p[2] >= c[2] for p in values) for c in cells]
    assert hypervolume(values, reference, DIRECTIONS) == pytest.approx(sum(inside))


def test_missing_figures_are_never_on_the_front():
    values = [[1.0, np.nan], [0.5, 0.5]]
    assert front_mask(values, ["max", "max"]).tolist() == [False, True]


def test_points_beyond_the_reference_add_nothing():
    assert hypervolume([[0.05, 0.4]], [0.1, 1.0], ["max", "min"]) == 0.0


def test_an_empty_front_covers_nothing():
    assert hypervolume(np.empty((0, 2)), [0.0, 1.0], ["max", "min"]) == 0.0


def test_one_hundred_thousand_points_take_seconds():
    values = np.random.default_rng(0).random((100_000, 3))
    assert 10 < front_mask(values, DIRECTIONS).sum() < 2_000
