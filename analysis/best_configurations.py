"""The most private configuration at every accuracy that a user may insist on.

python analysis/best_configurations.py results/quickstart [--out figures] [--by attack_auc]

For each lost point of accuracy against the undefended baseline: the best trial by one figure, its
defences, and what it gains.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import raysweep
from raysweep.records.choice import choose, parse_conditions
from raysweep.records.columns import BASELINE
from raysweep.records.results import Results
from raysweep.report import figures

LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3)


def best_by_loss(results: Results, by: str) -> pd.DataFrame:
    """Return one row for each accuracy loss: the best configuration that costs no more."""
    trials = results.trials
    fit = trials[results.objectives.eligible(trials)]
    baseline = fit[fit["number"] == BASELINE]
    anchor = float(baseline["accuracy"].iloc[0]) if len(baseline) else float(fit["accuracy"].max())
    rows = []
    for loss in LOSSES:
        conditions = parse_conditions([f"accuracy >= {anchor - loss:.6f}"])
        choice = choose(trials, results.objectives, conditions, by)
        if choice.fits:
            rows.append({"accuracy_loss": loss, **choice.row})
    return pd.DataFrame(rows)


def main() -> None:
    """Write best.png and best.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="results folder of a sweep")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--by", default="attack_auc", help="the figure that decides")
    arguments = parser.parse_args()
    results = raysweep.load(arguments.results)
    best = best_by_loss(results, arguments.by)
    columns = ["accuracy_loss", "trial_id", "epsilon", "dropout", "l2", *results.objectives.names]
    arguments.out.mkdir(parents=True, exist_ok=True)
    best[columns].to_csv(arguments.out / "best.csv", index=False)
    print(best[columns].to_string(index=False, float_format="{:.4g}".format))
    figure = figures.best_by_loss(best, arguments.by, list(results.objectives.names))
    path = figures.save(figure, arguments.out / "best.png")
    print(f"Figure: {path}, table: {arguments.out / 'best.csv'}")


if __name__ == "__main__":
    main()
