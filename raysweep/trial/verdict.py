"""What counts of a trial's attacks: the AUC and the reconstruction error that a front compares."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import metrics
from raysweep.config import sub_seed
from raysweep.records.columns import AttackRecord, ScoreRows
from raysweep.records.trial_config import TrialConfig


def is_collapsed(accuracy: float, labels: NDArray[np.int64]) -> bool:
    """Return whether an accuracy is within three standard errors of the largest class."""
    share = float(np.bincount(labels).max() / len(labels))
    return accuracy <= share + 3 * sqrt(share * (1 - share) / len(labels))


def strongest_membership(
    config: TrialConfig, attacks: Sequence[AttackRecord], scores: Sequence[ScoreRows]
) -> dict[str, Any]:
    """Return the AUC that counts; for the strongest of k its interval is at 1 - 0.05 / k.

    White-box attacks count only by name: a front compares what an outsider can do.
    """
    records = {r.attack: r for r in attacks if r.family == "membership"}
    named = {name: records[name].auc for name in config.attacks.counted}
    aucs = {name: auc for name, auc in named.items() if auc is not None}
    if not aucs:
        return {}
    asked = config.attacks.attack_auc
    winner = max(aucs, key=lambda name: aucs[name]) if asked == "strongest" else asked
    if asked == "mean":
        return {"attack_auc": float(np.mean(list(aucs.values())))}
    rows = next(rows for rows in scores if rows.attack == winner)
    k = len(aucs) if asked == "strongest" else 1
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
    """Return the reconstruction error at the layer that counts, beside its floor."""
    layer = config.attacks.inversion_mse
    if layer is None:  # classes alone are rebuilt: their error ranks a grey image first
        return {}
    found = [r for r in attacks if r.family == "inversion" and r.layer == layer]
    found = [r for r in found if r.mse is not None]
    if not found:
        return {}
    best = min(found, key=lambda r: r.mse if r.mse is not None else inf)
    return {
        "inversion_mse": best.mse,
        "inversion_floor": best.floor_mean,
        "inversion_converged": best.converged,
    }
