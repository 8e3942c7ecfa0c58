"""Giammarresi 2021: eight scenarios x data sets x four measures, layers, and Figure 3.

python analysis/papers/thesis.py results/thesis_small [--out figures]

Membership is the mean AUC of max_posterior and data_transfer, inversion the convolutional decoder's
error at the output. Figure 3 is the mean percentage change against the baseline over data sets and
seeds, with its 95 % interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import raysweep
from raysweep import comparison, figures
from raysweep.comparison import beside

MEASURES = ["accuracy", "attack_auc", "inversion_mse", "train_seconds"]
LAYERS = ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "flatten", "dense", "output"]
BASELINE = {"accuracy": 0.846, "attack_auc": 0.67, "inversion_mse": 0.047}  # over three data sets
# claim: scenario, measure, sign of its change against the baseline
CLAIMS = [
    ("DP costs accuracy", "dp_eps2", "accuracy", -1),
    ("DP costs training time", "dp_eps2", "train_seconds", 1),
    ("DP worsens resistance at the dense layer", "dp_eps2", "dense", -1),
    ("DP worsens resistance at the output", "dp_eps2", "output", -1),
    ("L2 raises resistance of the output", "l2", "output", 1),
    ("dropout raises resistance of intermediate layers", "dropout", "conv3", 1),
    ("dropout does not raise that of the output", "dropout", "output", 0),
    ("L2 + dropout raises resistance of the output", "l2_dropout", "output", 1),
    ("L2 + dropout lowers the membership AUC", "l2_dropout", "attack_auc", -1),
    ("L2 + dropout does not impact accuracy noticeably", "l2_dropout", "accuracy", 0),
]


def changes(results: raysweep.Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (means of every scenario and data set, mean changes of every scenario in %)."""
    table = comparison.measured(results)
    layers = {f"mse_activation_decoder_{name}": name for name in LAYERS}
    table = table.rename(columns={k: v for k, v in layers.items() if k in table})
    figures_ = [*MEASURES, *(name for name in LAYERS if name in table)]
    means = comparison.summary(table, ["dataset", "scenario"], figures_)
    table = comparison.against_baseline(table, figures_)
    named = [f"change_{name}" for name in figures_]
    table[named] *= 100
    overall = comparison.summary(table[table["scenario"].notna()], ["scenario"], named)
    return means, overall


def verdict(mean: float, half: float, sign: int) -> str:
    """Return whether an interval of changes bears a claim out: sign 0 claims no rise above 5 %."""
    low, high = mean - half, mean + half
    if sign == 0:
        return "holds" if abs(mean) <= 5 else "does not hold"
    if low <= 0 <= high:
        return "undecided"
    return "holds" if (mean > 0) == (sign > 0) else "does not hold"


def main() -> None:
    """Print the tables and the claims; write thesis.csv, changes.csv and figure_3.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="results folder of search_spaces/papers/thesis*.yaml")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    arguments = parser.parse_args()
    results = raysweep.load(arguments.results)
    means, overall = changes(results)
    first = results.trials.iloc[0]
    seeds = results.trials["seed"].nunique()
    print(f"{int(first['n_members']):,} members, {seeds} seeds; ± is the 95 % interval over them")
    print(means.to_string(index=False, float_format="{:.4g}".format))
    own = means[means["scenario"] == "baseline"]
    for name, value in BASELINE.items():
        told = beside(float(own[name].mean()), value)
        print(f"baseline {name} over {len(own)} data sets: {told} (three data sets)")
    print("\nFigure 3: mean change against the baseline, %")
    print(overall.to_string(index=False, float_format="{:.3g}".format))
    print("\nClaims")
    by_scenario = overall.set_index("scenario")
    for claim, scenario, measure, sign in CLAIMS:
        key = f"change_{measure}"
        if scenario not in by_scenario.index or key not in by_scenario:
            print(f"  {claim}: not run")
            continue
        mean, half = (float(by_scenario[column][scenario]) for column in (key, f"{key}_pm"))
        print(f"  {claim}: {verdict(mean, half, sign)} ({mean:+.3g} ± {half:.2g} %)")
    arguments.out.mkdir(parents=True, exist_ok=True)
    means.to_csv(arguments.out / "thesis.csv", index=False)
    overall.to_csv(arguments.out / "changes.csv", index=False)
    figure = figures.bars(
        overall,
        "scenario",
        ["change_accuracy", "change_attack_auc", "change_inversion_mse"],
        title="Change against the baseline, %",
    )
    path = figures.save(figure, arguments.out / "figure_3.png")
    print(f"Figure: {path}, tables: {arguments.out}/thesis.csv, changes.csv")


if __name__ == "__main__":
    main()
