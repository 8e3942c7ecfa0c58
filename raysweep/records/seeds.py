"""Average the trials that differ in nothing but their seed, so that no lucky seed is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from raysweep.attacks import intervals
from raysweep.records.objectives import OF_MEMBERSHIP
from raysweep.records.priors import prior_of

MEANS = (
    "epsilon",
    "noise_multiplier",
    "train_accuracy",
    "accuracy",
    *OF_MEMBERSHIP,
    "attack_auc_null",
    "attack_auc_null_high",
    "inversion_mse",
    "inversion_mse_nonmembers",
    "inversion_floor",
    "inversion_floor_label",
    "train_seconds",
    "attack_seconds",
)
"""The figures that are averaged over seeds."""

WITH_ENDS = ("accuracy", *OF_MEMBERSHIP, "inversion_mse")
"""The figures in [0, 1] whose interval becomes that of the mean over seeds."""


def average_seeds(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each ``recipe``: its first trial, with the means over finished seeds.

    A column ``seeds`` then counts them. The interval of a mean is Student's. A recipe has collapsed
    if any of its trials has, and its inversion has converged if all have. Where no two trials share
    a recipe, ``trials`` is returned as it is.
    """
    recipes = trials["recipe"].fillna(trials["trial_id"])  # older records have none
    if not recipes.duplicated().any():
        return trials
    groups = trials.groupby(recipes, sort=False)
    rows = [_average(group) for _, group in groups]
    return pd.DataFrame(rows).astype(trials.dtypes.to_dict(), errors="ignore")


def _average(group: pd.DataFrame) -> dict[str, Any]:
    """Return the row of one recipe; its first trial as it is if fewer than two are finished."""
    finished = group[group["status"] == "ok"]
    first = {str(k): v for k, v in (finished if len(finished) else group).iloc[0].items()}
    row: dict[str, Any] = first | {"seeds": max(1, len(finished))}
    if len(finished) < 2:
        return row

    at_priors = [name for name in map(str, group) if prior_of(name) is not None]
    with_ends = {*WITH_ENDS, *at_priors}
    for name in (name for name in (*MEANS, *at_priors) if name in group):
        values = finished[name].to_numpy(dtype=float, na_value=np.nan)
        row[name] = float(np.mean(values))
        if name in with_ends and f"{name}_low" in group and np.isfinite(values).all():
            _, low, high = intervals.of_mean(values)
            row[f"{name}_low"], row[f"{name}_high"] = max(0.0, low), min(1.0, high)

    for name, combine in (("collapsed", any), ("inversion_converged", all)):
        known = finished[name].dropna()
        row[name] = combine(known.astype(bool)) if len(known) else None
    return row
