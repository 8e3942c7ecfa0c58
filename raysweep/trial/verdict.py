"""The figures of a trial that a front compares: one AUC, one reconstruction error, epsilon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import metrics
from raysweep.attacks.intervals import Interval
from raysweep.config import sub_seed
from raysweep.records.columns import AttackRecord, ScoreRows
from raysweep.records.trial_config import TrialConfig
from raysweep.training.signals import Floats

if TYPE_CHECKING:
    from raysweep.training.recipe import PrivacySpent


def is_collapsed(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> bool:
    """Return whether predictions (n,) say nothing about the labels (n,).

    Their balanced accuracy, the mean over classes of the share that is recognised, is then within
    three standard errors of 1 / classes. The error is that of the same predictions in random order,
    so that a model which always names one class has collapsed, and one which recognises a rare
    class has not.
    """
    classes, label = np.unique(labels, return_inverse=True)
    n, n_classes, of_class = len(labels), len(classes), np.bincount(label)
    named = np.array([(predicted == one).sum() for one in classes])
    hits = np.bincount(label[predicted == labels], minlength=n_classes)
    excess = (hits / of_class).sum() - named.sum() / n

    # In a random order the hits of the classes are multivariate hypergeometric.
    alone = (named * (n - named) * (n - of_class) / of_class).sum()
    together = named.sum() ** 2 - (named**2).sum()
    error = sqrt((alone + together) / (n * n * max(n - 1, 1)))
    return bool(excess <= 3 * error + 1e-9)


def strongest_membership(
    config: TrialConfig, attacks: Sequence[AttackRecord], scores: Sequence[ScoreRows]
) -> dict[str, Any]:
    """Return the AUC that counts. The interval of the strongest of k is at level 1 - 0.05 / k.

    White-box attacks count only if the space names them: a front compares what outsiders can do.
    ``attack_auc_null`` is the figure's zero, which for the strongest of k is above 0.5.
    """
    counted = config.attacks.counted
    rows = {r.attack: r for r in scores if r.attack in counted}
    aucs = {r.attack: r.auc for r in attacks if r.attack in rows and r.auc is not None}
    if not aucs:
        return {}

    member = rows[next(iter(aucs))].member
    return auc_that_counts(
        config,
        aucs,
        {name: rows[name].score for name in aucs},
        interval=partial(metrics.auc_interval, is_member=member),
        null=partial(metrics.null_auc, is_member=member, seed=sub_seed(config.seed, "null")),
    )


def auc_that_counts(
    config: TrialConfig,
    aucs: Mapping[str, float],
    scores: Mapping[str, Floats],
    *,
    interval: Callable[..., Interval],
    null: Callable[..., tuple[float, float]],
) -> dict[str, Any]:
    """Return the columns of the AUC that counts, by the ``aucs`` and ``scores`` of each attack.

    ``interval`` measures the scores of one attack, or the mean of several, at a ``level``. ``null``
    measures what several attacks reach by chance, of which it is told how to ``choose``.
    """
    is_mean = config.attacks.attack_auc == "mean"
    winner, judged = max(aucs, key=lambda name: aucs[name]), [scores[name] for name in aucs]
    area = interval(
        judged if is_mean else scores[winner], level=0.95 if is_mean else 1 - 0.05 / len(aucs)
    )
    mean, high = null(judged, choose=np.mean if is_mean else np.max)
    return {
        **area.columns("attack_auc"),
        "attack_auc_null": mean,
        "attack_auc_null_high": high,
        "strongest_attack": None if is_mean else winner,
    }


def counting_inversion(config: TrialConfig, attacks: Sequence[AttackRecord]) -> dict[str, Any]:
    """Return the reconstruction error at the layer that counts, with what it is compared to."""
    layer = config.attacks.inversion_mse
    if layer is None:  # only whole classes are rebuilt, and a grey image has the least error there
        return {}
    errors = [
        (record.mse, number)
        for number, record in enumerate(attacks)
        if record.family == "inversion" and record.layer == layer and record.mse is not None
    ]
    if not errors:
        return {}

    best = attacks[min(errors)[1]]
    return {
        "inversion_mse": best.mse,
        "inversion_mse_low": best.mse_low,
        "inversion_mse_high": best.mse_high,
        "inversion_mse_nonmembers": best.mse_nonmembers,
        "inversion_floor": best.floor_mean,
        "inversion_floor_label": best.floor_label,
        "inversion_converged": best.converged,
    }


def privacy(spent: PrivacySpent | None) -> dict[str, Any]:
    """Return the columns on the privacy that was spent; None is training without DP-SGD."""
    if spent is None:
        return {"epsilon": inf, "noise_multiplier": 0.0}
    return {
        "epsilon": spent.epsilon,
        "noise_multiplier": spent.noise_multiplier,
        "sample_rate": spent.sample_rate,
        "steps": spent.steps,
        "accountant": spent.accountant,
        "accountant_settings": spent.accountant_settings,
        "clipping": spent.clipping,
    }
