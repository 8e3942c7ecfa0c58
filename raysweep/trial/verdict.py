"""The figures of a trial that a front compares: one AUC, one reconstruction error, epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import metrics
from raysweep.config import sub_seed
from raysweep.records.columns import AttackRecord, ScoreRows
from raysweep.records.trial_config import TrialConfig

if TYPE_CHECKING:
    from raysweep.training.recipe import PrivacySpent


def is_collapsed(accuracy: float, labels: NDArray[np.int64]) -> bool:
    """Return whether an accuracy is within three standard errors of the largest class."""
    share = float(np.bincount(labels).max() / len(labels))
    return accuracy <= share + 3 * sqrt(share * (1 - share) / len(labels))


def strongest_membership(
    config: TrialConfig, attacks: Sequence[AttackRecord], scores: Sequence[ScoreRows]
) -> dict[str, Any]:
    """Return the AUC that counts. The interval of the strongest of k is at level 1 - 0.05 / k.

    White-box attacks count only if the space names them: a front compares what outsiders can do.
    """
    records = {r.attack: r for r in attacks if r.family == "membership"}
    counted = {name: records[name].auc for name in config.attacks.counted}
    aucs = {name: auc for name, auc in counted.items() if auc is not None}
    if not aucs:
        return {}
    choice = config.attacks.attack_auc
    if choice == "mean":
        return {"attack_auc": float(np.mean(list(aucs.values())))}

    winner = max(aucs, key=lambda name: aucs[name]) if choice == "strongest" else choice
    k = len(aucs) if choice == "strongest" else 1
    rows = next(rows for rows in scores if rows.attack == winner)
    area = metrics.auc_interval(
        rows.score,
        rows.member,
        seed=sub_seed(config.seed, "strongest", winner),
        level=1 - 0.05 / k,
        resamples=1000 * k,
    )
    return {
        "attack_auc": area.value,
        "attack_auc_low": area.low,
        "attack_auc_high": area.high,
        "strongest_attack": winner,
    }


def counting_inversion(config: TrialConfig, attacks: Sequence[AttackRecord]) -> dict[str, Any]:
    """Return the reconstruction error at the layer that counts, with its floor."""
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
        "inversion_floor": best.floor_mean,
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
