"""The figures of a recipe: of K models, each attacked with the others as its references."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysweep.attacks import LIKELIHOOD_RATIOS, intervals, recipe_metrics
from raysweep.attacks.metrics import advantage_oracle
from raysweep.config import sub_seed
from raysweep.data import Splits
from raysweep.records.columns import AttackRecord
from raysweep.records.trial_config import TrialConfig
from raysweep.training.recipe import Recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial.ensemble import Ensemble, Judged, train_ensemble
from raysweep.trial.membership_judge import FPRS, parameters_json


@dataclass(frozen=True, kw_only=True)
class OfRecipe:
    """A row for each attack on the recipe, and the columns of ``trials`` that are of the recipe."""

    attacks: tuple[AttackRecord, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def judge_recipe(
    config: TrialConfig, splits: Splits, recipe: Recipe, target: TrainedTarget
) -> OfRecipe:
    """Return what the recipe's models show, ``target`` the first; nothing without `measure`."""
    if config.measure is None:
        return OfRecipe()
    ensemble = train_ensemble(config, splits, recipe, target)
    rows = [_row(config, ensemble, name, judged) for name, judged in ensemble.attacks.items()]
    return OfRecipe(attacks=tuple(rows), figures=trial_figures(config, ensemble))


def _row(config: TrialConfig, ensemble: Ensemble, name: str, judged: Judged) -> AttackRecord:
    start, k = time.perf_counter(), len(ensemble.inside)
    attack = config.attacks.of_recipe[name]
    is_ratio = isinstance(attack, LIKELIHOOD_RATIOS)
    figures = _figures(judged, ensemble, seed=sub_seed(config.seed, "ensemble", "figures", name))
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
    area = recipe_metrics.mean_auc(scores, inside)
    figures: dict[str, Any] = {
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "advantage_oracle": advantage_oracle(scores.ravel(), inside.ravel()),
    }

    if judged.thresholds is not None:
        gap = recipe_metrics.mean_advantage(scores, inside, judged.thresholds)
        figures |= {"advantage": gap.value, "advantage_low": gap.low, "advantage_high": gap.high}

    for label, fpr in FPRS.items():
        key, point = (
            f"tpr_at_fpr_{label}",
            recipe_metrics.pooled_tpr(scores, inside, fpr, seed=seed),
        )
        if point is not None:
            figures |= {key: float(point.tpr.value), f"{key}_low": point.tpr.low}
            figures |= {f"{key}_high": point.tpr.high, f"{key}_realised_fpr": point.realised_fpr}
        figures[f"{key}_by_model"] = recipe_metrics.tpr_by_model(scores, inside, fpr, seed=seed)
    return figures


def trial_figures(config: TrialConfig, ensemble: Ensemble) -> dict[str, Any]:
    """Return the columns of ``trials`` that are of the recipe."""
    by_model = ensemble.is_right_on_validation.mean(axis=1)
    accuracy = intervals.of_crossed_share(ensemble.is_right_on_validation.astype(float))
    return {
        "models": len(ensemble.inside),
        "population": ensemble.inside.shape[1],
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "accuracies": json.dumps(by_model.tolist()),
        "train_accuracy": float(ensemble.is_right[ensemble.inside].mean()),
        "model_seeds": json.dumps(ensemble.seeds),
        "ensemble_seconds": ensemble.seconds,
        **_strongest(config, ensemble),
    }


def _strongest(config: TrialConfig, ensemble: Ensemble) -> dict[str, Any]:
    """Return the AUC that counts; the interval of the strongest of k is at level 1 - 0.05 / k."""
    counted = [name for name in config.attacks.counted if name in ensemble.attacks]
    if not counted:
        return {}
    inside, choice = ensemble.inside, config.attacks.attack_auc
    scores = {name: ensemble.attacks[name].scores for name in counted}
    areas = {name: recipe_metrics.mean_auc(one, inside).value for name, one in scores.items()}
    winner = max(areas, key=lambda name: areas[name])

    area = recipe_metrics.mean_auc(
        list(scores.values()) if choice == "mean" else scores[winner],
        inside,
        level=1 - 0.05 / (len(areas) if choice == "strongest" else 1),
    )
    choose, seed = (
        np.mean if choice == "mean" else np.max,
        sub_seed(config.seed, "ensemble", "null"),
    )
    null, null_high = recipe_metrics.null_auc(list(scores.values()), choose=choose, seed=seed)
    return {
        "attack_auc": area.value,
        "attack_auc_low": area.low,
        "attack_auc_high": area.high,
        "attack_auc_null": null,
        "attack_auc_null_high": null_high,
        "strongest_attack": None if choice == "mean" else winner,
    }
