"""The part that each decision of an attack has in a figure.

``scores`` (K, n) are an attack's on K models, and ``inside`` (K, n) says which examples trained
which model. Parts (K, n) have the figure as their mean, and where a figure is not a mean, they are
its linear approximation. With them two recipes that were measured on the same models and examples
can be compared pair by pair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import metrics
from raysweep.training.signals import Floats

Bools = NDArray[np.bool_]


def of_auc(scores: Floats, inside: Bools) -> Floats:
    """Return parts of the mean of the models' AUCs: the placements (DeLong et al. 1988)."""
    parts = np.empty(scores.shape)
    for row, (values, members) in enumerate(zip(scores, inside, strict=True)):
        of_members, of_others = metrics.placements(values, members)
        area = of_members.mean()
        parts[row, members] = area + (of_members - area) * len(values) / len(of_members)
        parts[row, ~members] = area + (of_others - area) * len(values) / len(of_others)
    return parts


def of_advantage(scores: Floats, inside: Bools, thresholds: Floats) -> Floats:
    """Return parts of the mean of TPR - FPR at each model's own threshold (K,)."""
    n = scores.shape[1]
    n_inside = inside.sum(axis=1, keepdims=True)
    weights = np.where(inside, n / n_inside, -n / np.maximum(1, n - n_inside))
    parts: Floats = np.where(scores >= thresholds[:, None], weights, 0.0)
    return parts


def of_tpr(scores: Floats, inside: Bools, fpr: float, *, seed: int) -> Floats:
    """Return parts of the TPR at one threshold for all decisions, see :func:`metrics.tpr_at_fpr`.

    A nonmember above the threshold raises it, at the slope of the curve there: that from half the
    false-positive rate to twice the rate.
    """
    flat, members = scores.ravel(), inside.ravel()
    tie_break = np.random.default_rng(seed).random(flat.size)
    order = np.lexsort((tie_break, flat))[::-1]
    found = np.concatenate([[0.0], np.cumsum(members[order])])  # by how many are called
    wrong = np.cumsum(~members[order])
    n_members, n_others = int(members.sum()), int((~members).sum())

    def called(rate: float) -> int:
        return int(np.searchsorted(wrong, np.floor(rate * n_others + 1e-9), side="right"))

    low, high = max(fpr / 2, 1 / n_others), min(2 * fpr, 1.0)
    rise = (found[called(high)] - found[called(low)]) / n_members
    slope = rise / (high - low) if high > low else 0.0

    hit = np.zeros(flat.size, dtype=bool)
    hit[order[: called(fpr)]] = True
    tpr, realised = hit[members].mean(), hit[~members].mean()
    shift = np.where(
        members,
        (hit - tpr) * flat.size / n_members,
        -slope * (hit - realised) * flat.size / n_others,
    )
    parts: Floats = tpr + shift.reshape(scores.shape)
    return parts
