"""The most private configuration at every accuracy that a user may insist on.

    python analysis/best_configurations.py results/quickstart [--out figures] [--by attack_auc]

Each row allows a larger loss of accuracy against the undefended baseline, and shows the trial that
is then best by one objective, with the values of what was swept. Only public names of raysweep are
used: copy this script and change it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import raysweep

LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3)  # of accuracy, shares of 1


def best_by_loss(
    front: pd.DataFrame, objectives: raysweep.Objectives, baseline_accuracy: float, by: str
) -> pd.DataFrame:
    """Return one row for each accuracy loss: the trial of the front that is best ``by`` a column.

    A trial that is best by one objective among those of a least accuracy is always on the front.
    """
    names = list(objectives.names)
    comparable = pd.DataFrame(objectives.comparable(front), columns=names, index=front.index)
    is_least = objectives.to_plain()[by] == "min"
    ranked = comparable.assign(accuracy=front["accuracy"])
    ranked = ranked.sort_values([by, "accuracy"], ascending=[is_least, False])

    rows = []
    for loss in LOSSES:
        accurate = ranked[ranked["accuracy"] >= round(baseline_accuracy - loss, 6)]
        if len(accurate):
            rows.append(front.loc[accurate.index[:1]].assign(accuracy_loss=loss))
    return pd.concat(rows, ignore_index=True)


def draw(best: pd.DataFrame, by: str, objectives: list[str]) -> Figure:
    """Return a panel for each objective but the accuracy, over the accuracy that is given up."""
    shown = [name for name in objectives if name != "accuracy"] or ["accuracy"]
    points = 100 * best["accuracy_loss"]

    figure = Figure(figsize=(5.2 * len(shown), 4.4), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        axes.step(points, best[name], where="post", color="grey")
        axes.scatter(points, best[name], color="crimson", zorder=3)
        axes.set(xlabel="accuracy given up (points)", ylabel=name)
    figure.suptitle(f"Best configuration by {by}")
    return figure


def main() -> None:
    """Write best.png and best.csv, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", help="results folder of a sweep")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where to write")
    parser.add_argument("--by", default="attack_auc", help="the objective that decides")
    arguments = parser.parse_args()

    results = raysweep.load(arguments.results)
    objectives = list(results.objectives.names)
    if arguments.by not in objectives:
        sys.exit(f"--by {arguments.by} is no objective of this sweep: {', '.join(objectives)}")

    front, trials = results.front(), results.trials
    baseline = trials[(trials["number"] == 0) & (trials["status"] == "ok")]
    start = float((baseline if len(baseline) else front)["accuracy"].max())
    best = best_by_loss(front, results.objectives, start, arguments.by)
    names = ["accuracy_loss", "trial_id", *results.axes, *objectives]
    columns = [name for name in dict.fromkeys(names) if name in best]

    arguments.out.mkdir(parents=True, exist_ok=True)
    best[columns].to_csv(arguments.out / "best.csv", index=False)
    print(best[columns].to_string(index=False, float_format="{:.4g}".format))

    draw(best, arguments.by, objectives).savefig(arguments.out / "best.png", dpi=150)
    print(f"Figure: {arguments.out / 'best.png'}, table: {arguments.out / 'best.csv'}")


if __name__ == "__main__":
    main()
