"""The figures of a trial that a front compares."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from raysweep.trial.verdict import is_collapsed


def rare(share, n=200):
    labels = np.zeros(n, dtype=np.int64)
    labels[: round(share * n)] = 1
    return labels


@pytest.mark.parametrize("share", [0.005, 0.02, 0.03, 0.3])
def test_a_perfect_model_on_a_rare_class_has_not_collapsed(share):
    labels = rare(share)
    assert not is_collapsed(labels, labels)


@pytest.mark.parametrize("share", [0.005, 0.03, 0.5])
def test_a_model_that_always_names_one_class_has_collapsed(share):
    labels = rare(share)
    assert is_collapsed(np.zeros_like(labels), labels)
    assert is_collapsed(np.ones_like(labels), labels)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_guesses_with_the_frequencies_of_the_classes_have_collapsed(share):
    rng, labels = np.random.default_rng(0), rare(share, 1000)
    guesses = [is_collapsed(rng.permutation(labels), labels) for _ in range(300)]
    assert np.mean(guesses) > 0.97


def test_a_model_that_learnt_a_rare_class_in_part_has_not_collapsed(imbalanced):
    """Its accuracy is that of the largest class, which the rule before this one took."""
    predicted, labels = imbalanced
    assert (predicted == labels).mean() == pytest.approx((labels == 0).mean(), abs=0.03)
    assert balanced_accuracy_score(labels, predicted) > 0.7
    assert not is_collapsed(predicted, labels)


@pytest.fixture(scope="module")
def imbalanced():
    """Predictions on the breast cancer table with few malignant tumours left, and the truth."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    malignant = np.flatnonzero(y == 0)[:24]
    rows = np.concatenate([malignant, np.flatnonzero(y == 1)])
    x, y = x[rows][:, :2], (y[rows] == 0).astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(x, y, stratify=y, random_state=0)
    weights = {0: 1, 1: 8}
    fitted = LogisticRegression(class_weight=weights, solver="newton-cholesky", max_iter=5000)
    return fitted.fit(train_x, train_y).predict(test_x), test_y


def test_the_error_of_random_predictions_is_that_of_permutations():
    """Of ten classes, the recognised classes have to stand out from the guesses."""
    rng = np.random.default_rng(1)
    labels = rng.integers(10, size=200)
    some = np.where(rng.random(200) < 0.15, labels, rng.integers(10, size=200))
    good = np.where(rng.random(200) < 0.4, labels, rng.integers(10, size=200))

    def threshold(predicted):
        by_chance = [
            balanced_accuracy_score(labels, rng.permutation(predicted)) for _ in range(500)
        ]
        return np.mean(by_chance) + 3 * np.std(by_chance)

    for predicted in (some, good):
        is_below = balanced_accuracy_score(labels, predicted) <= threshold(predicted)
        assert is_collapsed(predicted, labels) == is_below
