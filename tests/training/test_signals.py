import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysweep.training import signals

LOGITS = arrays(np.float64, (5, 4), elements=st.floats(-8, 8))


def posteriors(logits):
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


@given(LOGITS)
def test_log_posteriors_and_complements_are_those_of_softmax(logits):
    p = posteriors(logits)
    log_p = signals.log_posteriors(logits)
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-9)
    np.testing.assert_allclose(np.exp(signals.log_complements(log_p)), 1 - p, rtol=1e-6, atol=1e-12)


@given(LOGITS)
def test_modified_entropy_is_its_definition(logits):
    labels = np.array([0, 1, 2, 3, 0])
    p = posteriors(logits)
    rows = np.arange(5)
    p_label = p[rows, labels]
    others = -(p * np.log1p(-p)).sum(axis=1) + p_label * np.log1p(-p_label)
    expected = -(1 - p_label) * np.log(p_label) + others
    np.testing.assert_allclose(
        signals.modified_entropy(logits, labels), expected, rtol=1e-6, atol=1e-9
    )


@given(LOGITS)
def test_confidence_orders_like_the_highest_posterior(logits):
    p = posteriors(logits).max(axis=1)
    np.testing.assert_allclose(
        signals.confidence(logits), np.log(p / (1 - p)), rtol=1e-6, atol=1e-9
    )


def test_signals_of_very_confident_predictions_differ():
    logits = np.array([[40.0, 0.0, 0.0], [50.0, 0.0, 0.0], [60.0, 0.0, 0.0]])
    assert np.all(np.diff(signals.confidence(logits)) > 0)
    assert np.all(np.diff(signals.modified_entropy(logits, np.zeros(3, int))) < 0)


def test_cross_entropy_is_right_for_logits_whose_exponential_overflows():
    signal = signals.cross_entropy(np.array([[1000.0, 0.0]]), np.array([1]))
    assert signal == pytest.approx([1000.0])


def test_sorted_log_odds_come_highest_first():
    signal = signals.sorted_log_odds(np.random.default_rng(0).normal(size=(6, 5)))
    assert signal.shape == (6, 3)
    assert np.all(np.diff(signal, axis=1) <= 0)


def test_the_inversion_view_is_the_log_posteriors_down_to_the_least_of_float32():
    sure = np.array([[60.0, 30.0, 0.0]])
    np.testing.assert_array_equal(signals.inversion_view(sure), signals.log_posteriors(sure))
    surest = signals.inversion_view(np.array([[1000.0, 0.0]]))
    assert surest.min() == pytest.approx(np.log(1e-38))
