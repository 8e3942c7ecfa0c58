"""Gianitsos: accuracy and epsilon by epoch (Figure 2), faces out of models (Figures 3 and 4).

python analysis/papers/face_inversion.py results/face_inversion_dp [--out figures]

Works on any of the spaces search_spaces/papers/face_inversion_*.yaml: prints what its records hold.
A face is recovered when an independent classifier, taught by real faces, names the right person.
"""

from __future__ import annotations

import argparse
from math import inf, log
from pathlib import Path

import numpy as np
import pandas as pd

import raysweep
from raysweep import comparison, figures
from raysweep.comparison import beside

EPSILON = {0.001: 5.5e7, 0.01: 5.5e5, 0.1: 5600, 0.4: 430, 1.1: 85, 1.5: 54, 3.5: 18}
ACCURACY = {0.0: 83.0, 0.4: 79.0}  # softmax on faces, %
ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))  # the paper's accountant
STEPS, DELTA = 100, 1e-5
RECOGNISED = "recognition_rate_mi_face"


def published_epsilon(sigma: float) -> float:
    """Return epsilon as the paper computed it: full batches, its orders, the classic conversion.

    The Renyi divergence of order a of STEPS full-batch Gaussian steps is STEPS a / (2 sigma^2).

    >>> round(published_epsilon(0.4), 1)
    432.6
    """
    orders = np.array(ORDERS)
    spent = STEPS * orders / (2 * sigma**2) + log(1 / DELTA) / (orders - 1)
    return float(spent.min())


def by_noise(results: raysweep.Results) -> pd.DataFrame:
    """Return one row a model, form of the attack and noise multiplier: means over seeds."""
    table = comparison.measured(results)
    table["pixels"] = table["config"].str.extract(r'"pixels":"(\w+)"')[0].fillna("-")
    table["accuracy"] *= 100
    wanted = ("accuracy", "epsilon", RECOGNISED, "mse_mi_face", "ssim_mi_face", "cost_mi_face")
    found = [name for name in wanted if name in table]
    return comparison.summary(table, ["model", "pixels", "noise_multiplier"], found)


def threshold(found: pd.DataFrame) -> float | None:
    """Return the largest epsilon at which fewer than a tenth of the faces are recovered."""
    gone = found[found[RECOGNISED] < 0.1]
    return float(gone["epsilon"].max()) if len(gone) else None


def main() -> None:
    """Print the tables; write faces.csv or epochs.csv and a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="results folder of a face_inversion space")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    arguments = parser.parse_args()
    results = raysweep.load(arguments.results)
    found = by_noise(results).sort_values(["model", "pixels", "noise_multiplier"])
    trials = results.trials
    seeds = trials["seed"].nunique()
    print(f"{int(trials.iloc[0]['n_members']):,} members, {seeds} seeds; ± is the 95 % interval")
    print(found.to_string(index=False, float_format="{:.4g}".format))
    arguments.out.mkdir(parents=True, exist_ok=True)
    if RECOGNISED in found and (found["noise_multiplier"] > 0).any():
        print("\nnoise: epsilon, the paper's accountant | published; accuracy, ours | published")
        for _, row in found[found["pixels"] == found["pixels"].iloc[0]].iterrows():
            sigma = float(row["noise_multiplier"])
            theirs = published_epsilon(sigma) if sigma else inf
            told = beside(row["accuracy"], ACCURACY.get(sigma), row["accuracy_pm"], " %")
            print(f"  {sigma:g}: {row['epsilon']:.4g}, {theirs:.4g} | {EPSILON.get(sigma)}; {told}")
        for form, own in found.groupby("pixels"):
            print(
                f"recovery below a tenth from epsilon {threshold(own)} on ({form}); published 430"
            )
    epochs = results.epochs.merge(trials[["trial_id", "noise_multiplier"]], on="trial_id")
    by_epoch = comparison.summary(epochs, ["noise_multiplier", "epoch"], ["accuracy", "epsilon"])
    by_epoch.to_csv(arguments.out / "epochs.csv", index=False)
    found.to_csv(arguments.out / "faces.csv", index=False)
    figure = figures.lines(
        by_epoch, "epoch", "accuracy", "noise_multiplier", title="Accuracy after each epoch"
    )
    path = figures.save(figure, arguments.out / "face_inversion.png")
    print(f"Figure: {path}, tables: {arguments.out}/faces.csv, epochs.csv")


if __name__ == "__main__":
    main()
