"""The figures of a recipe: of K models, each attacked with the others as its references."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from raysweep.attacks import LIKELIHOOD_RATIOS, intervals, metrics, recipe_metrics
from raysweep.attacks.metrics import FPRS
from raysweep.config import sub_seed
from raysweep.data import Splits
from raysweep.records.columns import AttackRecord, ExampleRow, SubsetRecord
from raysweep.records.trial_config import TrialConfig
from raysweep.training.recipe import Recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial import example_rows, subset_judge
from raysweep.trial.canary_judge import of_canaries
from raysweep.trial.claim import refuse_broken_claim, rows_of_models
from raysweep.trial.ensemble import Ensemble, Judged, train_ensemble
from raysweep.trial.membership_judge import parameters_json, rate_columns
from raysweep.trial.verdict import auc_that_counts, rates_that_count


@dataclass(frozen=True, kw_only=True)
class OfRecipe:
    """The rows of a recipe, and the columns of ``trials`` that are of the recipe."""

    attacks: tuple[AttackRecord, ...] = ()
    examples: tuple[ExampleRow, ...] = ()
    subsets: tuple[SubsetRecord, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def judge_recipe(
    config: TrialConfig, splits: Splits, recipe: Recipe, target: TrainedTarget
) -> OfRecipe:
    """Return what the recipe's models show, ``target`` the first; nothing without `measure`.

    Raises:
        PrivacyError: an attack finds more members than epsilon allows.

    """
    if config.measure is None:
        return OfRecipe()
    start = time.perf_counter()
    ensemble = train_ensemble(config, splits, recipe, target)
    refuse_broken_claim(
        [rows_of_models(n, a.scores, ensemble.inside) for n, a in ensemble.attacks.items()],
        target.privacy,
        splits.group_records,
        seed=config.seed,
    )
    rows = [_row(config, ensemble, name, judged) for name, judged in ensemble.attacks.items()]
    return OfRecipe(
        attacks=(*rows, *(rebuilt.row for rebuilt in ensemble.rebuilt)),
        examples=tuple(example_rows.of_recipe(config, splits, ensemble, rows)),
        subsets=(
            *subset_judge.of_recipe(config, splits, ensemble, rows),
            *of_canaries(config, splits, recipe, target, rows),
        ),
        figures=trial_figures(config, ensemble, rows)
        | {"ensemble_seconds": time.perf_counter() - start},
    )


def _row(config: TrialConfig, ensemble: Ensemble, name: str, judged: Judged) -> AttackRecord:
    start, k = time.perf_counter(), len(ensemble.inside)
    attack = config.attacks.of_recipe[name]
    is_ratio = isinstance(attack, LIKELIHOOD_RATIOS)
    figures = _figures(judged, ensemble, seed=_figures_seed(name, config.seed))
    return AttackRecord(
        trial_id=config.trial_id,
        family="membership",
        attack=name,
        models=k,
        parameters=json.dumps({"references": k - 2}) if is_ratio else parameters_json(attack),
        n_members=ensemble.inside.shape[1] // 2,
        n_nonmembers=ensemble.inside.shape[1] // 2,
        **figures,
        seconds=judged.seconds + time.perf_counter() - start,
    )


def _figures(judged: Judged, ensemble: Ensemble, *, seed: int) -> dict[str, Any]:
    scores, inside = judged.scores, ensemble.inside
    figures: dict[str, Any] = recipe_metrics.mean_auc(scores, inside).columns("auc")
    figures["advantage_oracle"] = metrics.advantage_oracle(scores.ravel(), inside.ravel())
    if judged.thresholds is not None:
        gap = recipe_metrics.mean_advantage(scores, inside, judged.thresholds)
        figures |= gap.columns("advantage")

    for label, fpr in FPRS.items():
        point = recipe_metrics.pooled_tpr(scores, inside, fpr, seed=seed)
        by_model = metrics.mean_tpr(scores, inside, fpr, seed=seed)
        figures |= rate_columns(label, point) | {f"tpr_at_fpr_{label}_by_model": by_model}
    return figures


def trial_figures(
    config: TrialConfig, ensemble: Ensemble, attacks: Sequence[AttackRecord]
) -> dict[str, Any]:
    """Return the columns of ``trials`` that are of the recipe, given the rows of its attacks."""
    assert config.measure is not None
    by_model = ensemble.is_right_on_judged.mean(axis=1)
    accuracy = intervals.of_crossed_share(ensemble.is_right_on_judged.astype(float))
    return {
        "models": len(ensemble.inside),
        "population": ensemble.inside.shape[1],
        **accuracy.columns("accuracy"),
        "accuracy_on": config.measure.accuracy_on,
        "accuracies": json.dumps(by_model.tolist()),
        "train_accuracy": float(ensemble.is_right[ensemble.inside].mean()),
        "model_seeds": json.dumps(ensemble.seeds),
        **_tail(config, ensemble),
        **_strongest(config, ensemble, attacks),
    }


def _tail(config: TrialConfig, ensemble: Ensemble) -> dict[str, float]:
    """Return the tail of the losses of all models, at one threshold; nothing with too few."""
    seed = sub_seed(config.seed, "ensemble", "tail")
    point = recipe_metrics.pooled_tpr(-ensemble.odds, ~ensemble.inside, metrics.TAIL_FNR, seed=seed)
    return {} if point is None else point.tpr.columns("tail")


def _strongest(
    config: TrialConfig, ensemble: Ensemble, attacks: Sequence[AttackRecord]
) -> dict[str, Any]:
    counted = config.attacks.counted
    aucs = {r.attack: r.auc for r in attacks if r.attack in counted and r.auc is not None}
    if not aucs:
        return {}
    area = auc_that_counts(
        config,
        aucs,
        {name: ensemble.attacks[name].scores for name in aucs},
        interval=partial(recipe_metrics.mean_auc, inside=ensemble.inside),
        null=partial(recipe_metrics.null_auc, seed=sub_seed(config.seed, "ensemble", "null")),
    )
    rates = rates_that_count(
        config,
        attacks,
        tpr=partial(_pooled_tpr, ensemble, config.seed),
        advantage=partial(_mean_advantage, ensemble),
    )
    winner = max(aucs, key=lambda name: aucs[name])
    always = recipe_metrics.always_found(ensemble.attacks[winner].scores, ensemble.inside)
    return area | rates | always.columns("always_found")


def _pooled_tpr(
    ensemble: Ensemble, seed: int, name: str, fpr: float, level: float
) -> intervals.Interval:
    scores = ensemble.attacks[name].scores
    point = recipe_metrics.pooled_tpr(
        scores, ensemble.inside, fpr, seed=_figures_seed(name, seed), level=level
    )
    assert point is not None
    return point.tpr


def _mean_advantage(ensemble: Ensemble, name: str, level: float) -> intervals.Interval:
    judged = ensemble.attacks[name]
    assert judged.thresholds is not None
    return recipe_metrics.mean_advantage(
        judged.scores, ensemble.inside, judged.thresholds, level=level
    )


def _figures_seed(name: str, seed: int) -> int:
    return sub_seed(seed, "ensemble", "figures", name)
