"""The figures of a recipe class by class, and subgroup by subgroup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import intervals, recipe_metrics
from raysweep.attacks.metrics import FPRS, nonmembers_for
from raysweep.config import sub_seed
from raysweep.data import Splits
from raysweep.records.columns import AttackRecord, SubsetRecord
from raysweep.records.trial_config import TrialConfig
from raysweep.training.signals import Floats
from raysweep.trial.ensemble import Ensemble
from raysweep.trial.population import partitions, population
from raysweep.trial.preflight import LEAST
from raysweep.trial.verdict import strongest_at

Bools = NDArray[np.bool_]


def of_recipe(
    config: TrialConfig, splits: Splits, ensemble: Ensemble, attacks: Sequence[AttackRecord]
) -> Iterator[SubsetRecord]:
    """Yield a row for each class and each subgroup, by the attack with the highest AUC."""
    assert config.measure is not None
    name, _ = strongest_at(config, attacks, "auc")
    scores = None if name is None else ensemble.attacks[name].scores
    seed = sub_seed(config.seed, "ensemble", "subsets")
    examples, judged_on = population(splits), getattr(splits, config.measure.accuracy_on)
    for kind in partitions(splits):
        codes, judged = kind.of(examples), kind.of(judged_on)
        chosen = [codes == number for number in range(len(kind.names))]
        n_measured = sum(missing_members(ensemble.inside[:, some]) is None for some in chosen)
        for number, some in enumerate(chosen):
            found = accuracy(ensemble.is_right_on_judged[:, judged == number])
            if scores is not None:
                level = 1 - 0.05 / max(1, n_measured)
                found = _joined(found, membership(scores, ensemble.inside, some, seed=seed))
                found |= _gap(scores, ensemble.inside, some, level)
            yield SubsetRecord(
                trial_id=config.trial_id,
                kind=kind.kind,
                subset=kind.names[number],
                n=int(some.sum()),
                n_judged=int((judged == number).sum()),
                models=len(ensemble.inside),
                attack=name,
                **found,
            )


def accuracy(is_right: Bools) -> dict[str, Any]:
    """Return the columns of the accuracy of K models on some examples, (K, n)."""
    n = is_right.shape[1]
    if n < LEAST:
        return {"reason": f"accuracy needs {LEAST} examples, and there are {n:,}"}
    return intervals.of_crossed_share(is_right.astype(float)).columns("accuracy")


def missing_members(inside: Bools) -> str | None:
    """Return why a membership AUC of some examples (K, n) is not measured; None if it is.

    Of two models that belong together the one has as many members as the other has nonmembers.
    """
    least = int(inside.sum(axis=1).min())
    if least >= LEAST:
        return None
    return f"figures of membership need {LEAST} members in each model, and one has {least}"


def membership(scores: Floats, inside: Bools, chosen: Bools, *, seed: int) -> dict[str, Any]:
    """Return the columns of membership of the ``chosen`` of n examples, or the reason for none."""
    scores, inside = scores[:, chosen], inside[:, chosen]
    reason = missing_members(inside)
    if reason is not None:
        return {"reason": reason}

    found: dict[str, Any] = recipe_metrics.mean_auc(scores, inside).columns("auc")
    found |= recipe_metrics.always_found(scores, inside).columns("always_found")
    missing = []
    for label, fpr in FPRS.items():
        point = recipe_metrics.pooled_tpr(scores, inside, fpr, seed=seed)
        if point is None:
            missing.append(fpr)
        else:
            found |= point.tpr.columns(f"tpr_at_fpr_{label}")
    if missing:
        fpr, n = max(missing), int((~inside).sum())
        found["reason"] = (
            f"a TPR at {100 * fpr:g} % FPR needs {nonmembers_for(fpr):,} decisions on nonmembers, "
            f"and there are {n:,}"
        )
    return found


def _gap(scores: Floats, inside: Bools, chosen: Bools, level: float) -> dict[str, float]:
    """Return the columns of the gap to the other examples; none where either side is too small."""
    if any(missing_members(inside[:, some]) for some in (chosen, ~chosen)):
        return {}
    return recipe_metrics.auc_gap(scores, inside, chosen, level=level).columns("auc_gap")


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of both, and the reasons of both."""
    reasons = [part["reason"] for part in (other, one) if "reason" in part]
    both = {**one, **other}
    return {**both, "reason": "; ".join(reasons)} if reasons else both
