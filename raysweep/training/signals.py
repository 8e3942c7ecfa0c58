"""Quantities that an attacker computes from a model's logits, in NumPy and float64.

These are raw quantities, not scores: higher does not mean member. All of them are computed from
log-probabilities, so that posteriors of 1 - 1e-12 and 1 - 1e-13 do not become equal. An attack
cannot rank examples with equal signals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Labels = NDArray[np.int64]


def log_posteriors(logits: NDArray[np.floating]) -> Floats:
    """Return log softmax, (n, classes), <= 0.

    >>> np.exp(log_posteriors(np.zeros((1, 4)))).round(2).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    log_p: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def log_complements(log_p: Floats) -> Floats:
    """Return log(1 - p), (n, classes), without cancellation where p is close to 1."""
    with np.errstate(divide="ignore"):
        result = np.log1p(-np.exp(log_p))

    # The highest posterior may round to 1, so take the logarithm of the others' sum there.
    top = log_p.argmax(axis=1)[:, None]
    others = log_p.copy()
    np.put_along_axis(others, top, -np.inf, axis=1)
    peak = others.max(axis=1, keepdims=True)
    rest = peak + np.log(np.exp(others - peak).sum(axis=1, keepdims=True))
    np.put_along_axis(result, top, rest, axis=1)
    return result


def cross_entropy(logits: NDArray[np.floating], labels: Labels) -> Floats:
    """Return -log p_label, (n,), >= 0.

    >>> cross_entropy(np.zeros((1, 2)), np.array([0])).round(4).tolist()
    [0.6931]
    """
    return -np.take_along_axis(log_posteriors(logits), labels[:, None], axis=1)[:, 0]


def label_log_odds(logits: NDArray[np.floating], labels: Labels) -> Floats:
    """Return log(p_label / (1 - p_label)), (n,).

    It gives examples the order of minus the loss, without rounding small losses to 0.
    """
    rows = np.arange(len(labels))
    log_p = log_posteriors(logits)
    odds: Floats = log_p[rows, labels] - log_complements(log_p)[rows, labels]
    return odds


def confidence(logits: NDArray[np.floating]) -> Floats:
    """Return the log-odds of the highest posterior, (n,).

    It gives examples the order of the posterior, without rounding high posteriors to 1.
    """
    log_p = log_posteriors(logits)
    top = log_p.argmax(axis=1)[:, None]
    odds = log_p - log_complements(log_p)
    return np.take_along_axis(odds, top, axis=1)[:, 0]


def sorted_log_odds(logits: NDArray[np.floating], top: int = 3) -> Floats:
    """Return the log-odds of the ``top`` highest posteriors, highest first, (n, top).

    They are clipped to [-16, 16], the resolution of a posterior in float32.
    """
    log_p = log_posteriors(logits)
    odds = log_p - log_complements(log_p)
    return np.clip(-np.sort(-odds, axis=1)[:, :top], -16.0, 16.0)


def modified_entropy(logits: NDArray[np.floating], labels: Labels) -> Floats:
    """Return the modified prediction entropy, (n,), >= 0 (Song & Mittal 2021).

    -(1 - p_y) log p_y - sum over i != y of p_i log(1 - p_i). It is 0 for a confident right
    prediction and large for a confident wrong one.
    """
    log_p = log_posteriors(logits)
    log_q = log_complements(log_p)
    rows = np.arange(len(labels))
    of_label = np.exp(log_q[rows, labels]) * log_p[rows, labels]

    with np.errstate(invalid="ignore"):
        of_others = np.where(log_p > -700, np.exp(log_p) * log_q, 0.0)
    of_others[rows, labels] = 0.0

    entropy: Floats = -(of_label + of_others.sum(axis=1))
    return entropy


def inversion_view(logits: NDArray[np.floating]) -> Floats:
    """Return log(max(p, 1e-38)), (n, classes): the input of a black-box inversion.

    The limit is the least normal posterior in float32, all that a prediction vector can say.
    """
    return np.maximum(log_posteriors(logits), np.log(1e-38))
