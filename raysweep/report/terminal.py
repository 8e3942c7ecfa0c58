"""Print fronts and trials in a terminal of 80 columns or more."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from raysweep.config import to_plain
from raysweep.records.columns import TrialResult
from raysweep.records.results import Results

MOST_ROWS = 100  # of a table in a terminal


def print_front_of(results: Results, *, everything: bool) -> None:
    """Print the front, how many trials it was chosen from, and its hypervolume."""
    columns = [*_axis_columns(results), "strongest_attack", "attack_auc_low", "attack_auc_high"]
    trials = results.compared(columns)
    front = results.objectives.front(trials, everything=everything)
    print_front(results, front)

    corner = results.objectives.reference_point(trials)
    reference = ", ".join(f"{name} {value:g}" for name, value in corner.items())
    volume = results.objectives.hypervolume(trials)
    pruned = int((trials["status"] == "pruned").sum())
    count = f"{len(trials)} trials" + (f" ({pruned} pruned)" if pruned else "")
    print(f"{len(front)} of {count}; hypervolume {volume:.5f} against {reference}")


def _axis_columns(results: Results) -> list[str]:
    """Return the columns of the axes, with the epsilon spent in place of the target."""
    return ["epsilon" if axis == "target_epsilon" else axis for axis in results.axes]


def print_front(results: Results, front: pd.DataFrame) -> None:
    """Print the front as a table: the axes, the objectives, the interval of the AUC."""
    if front.empty:
        print("no trial stands on the front: all failed, collapsed or did not converge")
        return

    console = Console(width=None if sys.stdout.isatty() else 120)
    axes = [name for name in _axis_columns(results) if name in front]
    names = list(dict.fromkeys(["trial_id", *axes, *results.objectives.names]))
    names += ["strongest_attack"] if console.width >= 100 else []
    title = "The front: no trial beats these in every objective"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    for name in names:
        heading = SHORT_HEADINGS.get(name, name.replace("_", " "))
        table.add_column(heading, justify="right", no_wrap=name == "attack_auc")

    for _, row in front.head(MOST_ROWS).iterrows():
        table.add_row(*(_cell(name, row) for name in names))
    console.print(table)

    if len(front) > MOST_ROWS:
        print(f"{len(front) - MOST_ROWS} more have less accuracy: raysweep front --format csv")
    if "inversion_mse" in results.objectives.names:
        floor = front["inversion_floor"].iloc[0]
        print(f"The mean image, which sees no model, has an inversion MSE of {floor:.4f}.")


SHORT_HEADINGS = {"trial_id": "trial", "attack_auc": "attack AUC", "inversion_mse": "MSE"}


def _cell(name: str, row: pd.Series[Any]) -> str:
    value = row[name]
    if name == "trial_id":
        return str(value)[:8]
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "-"
    if name == "attack_auc" and not pd.isna(row["attack_auc_low"]):
        return f"{value:.3f} [{row['attack_auc_low']:.2f}, {row['attack_auc_high']:.2f}]"
    return format(value, {"accuracy": ".3f", "inversion_mse": ".4f"}.get(name, ".3g"))


def print_json(result: TrialResult) -> None:
    """Print all records of a trial as one line of JSON, infinity as the text "inf"."""
    rows = {
        "trial": result.trial.row(),
        "attacks": [dataclasses.asdict(record) for record in result.attacks],
        "epochs": [dataclasses.asdict(record) for record in result.epochs],
    }
    print(json.dumps(to_plain(rows)))


def print_trial(result: TrialResult) -> None:
    """Print the result of a trial, with a row for each attack."""
    record = result.trial
    print(
        f"trial {record.trial_id} on {record.device}: accuracy {record.accuracy:.3f} "
        f"(train {record.train_accuracy:.3f}), epsilon {record.epsilon:.4g}, "
        f"{record.train_seconds:.1f} s training, {record.attack_seconds:.1f} s attacks"
    )
    if record.collapsed:
        print("collapsed: accuracy is no better than the largest class; attacks on it say nothing")

    table = Table()
    names = ("attack", "layer", "AUC [95 %]", "TPR at 1 % FPR", "MSE", "floor", "SSIM", "decoder")
    for name in names:
        table.add_column(name, justify="left" if name == "attack" else "right")

    for a in result.attacks:
        auc = "" if a.auc is None else f"{a.auc:.3f} [{a.auc_low:.3f}, {a.auc_high:.3f}]"
        numbers = (a.tpr_at_fpr_0_01, a.mse, a.floor_mean, a.ssim)
        tpr, mse, floor, ssim = ("" if x is None else f"{x:.4f}" for x in numbers)
        table.add_row(a.attack, a.layer or "", auc, tpr, mse, floor, ssim, a.decoder or "")

    Console(width=None if sys.stdout.isatty() else 120).print(table)
