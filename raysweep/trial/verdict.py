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
from raysweep.attacks.metrics import FPRS
from raysweep.config import sub_seed
from raysweep.defences.dpsgd import tradeoff
from raysweep.records.columns import AttackRecord, ScoreRows
from raysweep.records.priors import figures_at, is_at_prior
from raysweep.records.trial_config import TrialConfig
from raysweep.training.signals import Floats
from raysweep.trial.membership_judge import seed_of, tie_seed

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
    area = auc_that_counts(
        config,
        aucs,
        {name: rows[name].score for name in aucs},
        interval=partial(metrics.auc_interval, is_member=member),
        null=partial(metrics.null_auc, is_member=member, seed=sub_seed(config.seed, "null")),
    )

    def tpr(name: str, fpr: float, level: float) -> Interval:
        seed = tie_seed(seed_of(name, config.seed))
        point = metrics.tpr_at_fpr(rows[name].score, member, fpr, seed=seed, level=level)
        assert point is not None
        return point.tpr

    def advantage(name: str, level: float) -> Interval:
        threshold = rows[name].threshold
        assert threshold is not None
        return metrics.advantage(rows[name].score, member, threshold, level)

    return area | rates_that_count(config, attacks, tpr=tpr, advantage=advantage)


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


def rates_that_count(
    config: TrialConfig,
    attacks: Sequence[AttackRecord],
    *,
    tpr: Callable[[str, float, float], Interval],
    advantage: Callable[[str, float], Interval],
) -> dict[str, Any]:
    """Return the columns of the true-positive rates, the advantage and the PPV that count.

    Each is of the attack that reaches most of it, whichever has the highest AUC, with an interval
    at level 1 - 0.05 / k for the choice among k. ``tpr`` measures an attack, by name, at a
    false-positive rate and a level, and ``advantage`` at a level.
    """
    known: dict[float, Interval] = {}
    columns: dict[str, Any] = {}
    for label, fpr in FPRS.items():
        winner, level = strongest_at(config, attacks, f"tpr_at_fpr_{label}")
        if winner is not None:
            known[fpr] = tpr(winner, fpr, level)
            columns |= known[fpr].columns(f"tpr_at_fpr_{label}")

    winner, level = strongest_at(config, attacks, "advantage")
    if winner is not None:
        columns |= advantage(winner, level).columns("advantage")
    if known:
        columns |= _ppv_columns(config.attacks.prior, min(known), known[min(known)])
    return columns


def _ppv_columns(priors: Sequence[float], fpr: float, tpr: Interval) -> dict[str, Any]:
    """Return the columns of the PPV at each prior, where a rate ``tpr`` is reached at ``fpr``."""
    columns: dict[str, Any] = {"ppv_fpr": fpr, "ppv_at_priors": {}}
    for name, prior in figures_at(priors).items():
        found = Interval(*(metrics.ppv(share, fpr, prior) for share in tpr)).columns(name)
        into = columns["ppv_at_priors"] if is_at_prior(name) else columns
        into |= found
    return columns


def strongest_at(
    config: TrialConfig, attacks: Sequence[AttackRecord], figure: str
) -> tuple[str | None, float]:
    """Return the attack with most of a figure, and the level of an interval for its choice."""
    counted = config.attacks.counted
    found = {record.attack: getattr(record, figure) for record in attacks}
    values = {name: x for name, x in found.items() if name in counted and x is not None}
    winner = max(values, key=lambda name: values[name]) if values else None
    return winner, 1 - 0.05 / max(1, len(values))


def counting_inversion(config: TrialConfig, attacks: Sequence[AttackRecord]) -> AttackRecord | None:
    """Return the row of the inversion that counts: the least error at the layer that counts.

    Where several models were attacked, it is that of all of them.
    """
    layer = config.attacks.inversion_mse
    if layer is None:  # only whole classes are rebuilt, and a grey image has the least error there
        return None
    rebuilt = [row for row in attacks if row.family == "inversion" and row.layer == layer]
    most = max((row.models for row in rebuilt), default=1)
    errors = [
        (row.mse, number)
        for number, row in enumerate(rebuilt)
        if row.mse is not None and row.models == most
    ]
    return rebuilt[min(errors)[1]] if errors else None


def inversion_columns(best: AttackRecord | None) -> dict[str, Any]:
    """Return the reconstruction error that counts, with what it is compared to."""
    if best is None:
        return {}
    return {
        "inversion_mse": best.mse,
        "inversion_mse_low": best.mse_low,
        "inversion_mse_high": best.mse_high,
        "inversion_mse_nonmembers": best.mse_nonmembers,
        "inversion_floor": best.floor_mean,
        "inversion_floor_label": best.floor_label,
        "inversion_converged": best.converged,
    }


def privacy(spent: PrivacySpent | None, group_records: int | None = None) -> dict[str, Any]:
    """Return the columns on the privacy that was spent; None is training without DP-SGD.

    ``group_records`` is how many members one group may have; None without groups.
    """
    if spent is None:
        return {"epsilon": inf, "noise_multiplier": 0.0, "group_records": group_records}
    return {
        "group_records": group_records,
        **tradeoff.columns(spent, group_records),
        "epsilon": spent.epsilon,
        "noise_multiplier": spent.noise_multiplier,
        "sample_rate": spent.sample_rate,
        "steps": spent.steps,
        "neighbours": spent.neighbours,
        "accountant": spent.accountant,
        "accountant_settings": spent.accountant_settings,
        "clipping": spent.clipping,
    }
