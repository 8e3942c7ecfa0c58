"""Which trials may stand on a front, and what a front covers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from raysweep.records.pareto import front_mask, hypervolume

OBJECTIVES: dict[str, Literal["max", "min"]] = {
    "accuracy": "max",
    "attack_auc": "min",
    "inversion_mse": "max",
    "epsilon": "min",
    "train_seconds": "min",
}


def comparable(trials: pd.DataFrame, objectives: Mapping[str, str]) -> pd.DataFrame:
    """Return the objectives as dominance sees them, one row a trial, indexed like ``trials``.

    An AUC below 0.5 counts as 0.5: noise is no privacy. A reconstruction worse than the mean image
    counts as the mean image.
    """
    values = trials[list(objectives)].astype(float).copy()
    if "attack_auc" in values:
        values["attack_auc"] = values["attack_auc"].clip(lower=0.5)
    if "inversion_mse" in values:
        values["inversion_mse"] = values["inversion_mse"].clip(upper=trials["inversion_floor"])
    return values


def comparable_row(row: Mapping[str, Any], objectives: Mapping[str, str]) -> list[float]:
    """Return what :func:`comparable` says of one record, NaN where a figure is missing.

    A frame of one row takes a thousand times as long, and a sweep asks this of every trial.
    """
    values = {name: np.nan if row[name] is None else float(row[name]) for name in objectives}
    if "attack_auc" in values:
        values["attack_auc"] = max(values["attack_auc"], 0.5)
    floor = row.get("inversion_floor")
    if "inversion_mse" in values and floor is not None and not np.isnan(floor):
        values["inversion_mse"] = min(values["inversion_mse"], float(floor))
    return list(values.values())


def eligible(trials: pd.DataFrame, objectives: Mapping[str, str]) -> pd.Series[bool]:
    """Return which trials may stand on a front: finished, not collapsed, attacks converged."""
    fit = (trials["status"] == "ok") & (trials["collapsed"] == False)  # noqa: E712 - null is not
    if "inversion_mse" in objectives:
        fit &= trials["inversion_converged"] == True  # noqa: E712
    return fit


def front(
    trials: pd.DataFrame, objectives: Mapping[str, str], *, everything: bool = False
) -> pd.DataFrame:
    """Return the rows of ``trials`` that no eligible row dominates, best accuracy first.

    ``everything`` lets collapsed models and attacks that did not converge stand for themselves.
    """
    values = comparable(trials, objectives)
    fit = trials["status"] == "ok" if everything else eligible(trials, objectives)
    values[~fit] = np.nan
    mask = front_mask(values.to_numpy(), list(objectives.values()))
    by = ["accuracy"] if "accuracy" in trials else list(objectives)[:1]
    return trials[mask].sort_values(by, ascending=False, ignore_index=True, kind="stable")


def reference_point(trials: pd.DataFrame, objectives: Mapping[str, str]) -> dict[str, float]:
    """Return the worst corner for the hypervolume: accuracy 1 / classes, AUC 1, MSE 0.

    Epsilon and seconds are measured from the worst finished trial.
    """
    classes = trials["n_classes"].dropna()
    fixed = {
        "accuracy": 1 / float(classes.iloc[0]) if len(classes) else 0.0,
        "attack_auc": 1.0,
        "inversion_mse": 0.0,
    }
    finished = trials[trials["status"] == "ok"]
    worst = finished[list(objectives)].replace(np.inf, np.nan).max()
    return {name: fixed.get(name, float(worst[name])) for name in objectives}


def covered(trials: pd.DataFrame, objectives: Mapping[str, str]) -> float:
    """Return the hypervolume of the eligible trials against :func:`reference_point`."""
    values = comparable(trials, objectives)[eligible(trials, objectives)]
    corner = reference_point(trials, objectives)
    if values.empty:
        return 0.0
    return hypervolume(values.to_numpy(), list(corner.values()), list(objectives.values()))
