import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysweep.records.pareto import front_mask, hypervolume

DIRECTIONS = ["max", "min", "max", "max"]


def points(highest=4.0):
    """Return some rows of one to four objectives with many ties."""
    shapes = st.tuples(st.integers(1, 12), st.integers(1, 4))
    return arrays(np.float64, shapes, elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, highest]))


def slow_front(values, directions):
    signs = [-1 if d == "max" else 1 for d in directions]
    losses = values * signs
    return [not any((b <= a).all() and (b < a).any() for b in losses) for a in losses]


@given(points(highest=np.inf), st.data())
def test_the_front_is_that_of_the_definition(values, data):
    directions = DIRECTIONS[: values.shape[1]]
    assert front_mask(values, directions).tolist() == slow_front(values, directions)
    order = data.draw(st.permutations(range(len(values))))
    assert (front_mask(values[order], directions) == front_mask(values, directions)[order]).all()


@given(points())
def test_the_hypervolume_is_the_share_of_a_grid_that_is_dominated(values):
    n = values.shape[1]
    reference = [-1.0, 5.0, -1.0, -1.0][:n]
    cells = np.stack(np.meshgrid(*[np.arange(-1, 5) + 0.5] * n, indexing="ij"), -1).reshape(-1, n)
    signs = np.array([1, -1, 1, 1])[:n]
    inside = ((signs * values)[:, None] >= signs * cells).all(axis=2).any(axis=0)
    assert hypervolume(values, reference, DIRECTIONS[:n]) == pytest.approx(inside.sum())


def test_missing_figures_are_never_on_the_front():
    values = [[1.0, np.nan], [0.5, 0.5]]
    assert front_mask(values, ["max", "max"]).tolist() == [False, True]


def test_points_beyond_the_reference_add_nothing():
    assert hypervolume([[0.05, 0.4]], [0.1, 1.0], ["max", "min"]) == 0.0


def test_an_empty_front_covers_nothing():
    assert hypervolume(np.empty((0, 2)), [0.0, 1.0], ["max", "min"]) == 0.0


def test_one_hundred_thousand_points_take_a_second():
    rng = np.random.default_rng(0)
    values = rng.random((100_000, 3))
    assert 10 < front_mask(values, ["max"] * 3).sum() < 2_000
    shell = values[:30_000] / np.linalg.norm(values[:30_000], axis=1, keepdims=True)
    began = time.process_time()  # on the shell nobody beats anybody
    assert front_mask(shell, ["max"] * 3).all()
    assert 0.51 < hypervolume(shell, [0] * 3, ["max"] * 3) < np.pi / 6
    assert time.process_time() - began < 5
