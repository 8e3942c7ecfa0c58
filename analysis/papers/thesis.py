"""Published figures of Giammarresi 2021, and our records in the same units.

Membership is the mean AUC of max_posterior and data_transfer. Changes are in %.
"""

from __future__ import annotations

from collections.abc import Sequence

import comparison
import pandas as pd

from raysweep.records.results import Results

SMALL = "thesis_small"
DECODER = "thesis_decoder_small"
TIMES = "thesis_times_small"
MEASURES = {
    "accuracy": "accuracy",
    "attack_auc": "membership AUC",
    "inversion_mse": "black-box inversion MSE",
    "train_seconds": "training time, s",
}
LAYERS = ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "flatten", "dense", "output"]
INTERMEDIATE = LAYERS[:-1]
SCENARIOS = {
    "baseline": "baseline",
    "dp_eps2": "DP ε=2",
    "dp_eps4": "DP ε=4",
    "dp_eps8": "DP ε=8",
    "l2": "L2",
    "dropout": "dropout",
    "l2_dropout": "L2 + dropout",
    "dp_eps2_dropout": "DP ε=2 + dropout",
}
TASKS = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10": "CIFAR-10"}
BASELINE = {"accuracy": 0.846, "attack_auc": 0.67, "inversion_mse": 0.047}  # over three data sets


def layer_table(results: Results) -> pd.DataFrame:
    """Return the finished trials, with the inversion's MSE of each layer as a column.

    ``intermediate`` is the mean over the layers below the output.
    """
    table = comparison.trial_table(results)
    table = table.rename(columns={f"mse_activation_decoder_{name}": name for name in LAYERS})
    table = table[table["scenario"].isin(list(SCENARIOS))]
    shown = [name for name in INTERMEDIATE if name in table]
    return table.assign(intermediate=table[shown].mean(axis=1))


def timed_table(stores: Sequence[Results]) -> pd.DataFrame:
    """Return :func:`layer_table` of the first store with the training times of the last."""
    keys = ["dataset", "scenario", "seed"]
    table, times = layer_table(stores[0]), layer_table(stores[-1])
    return table.drop(columns="train_seconds").merge(times[[*keys, "train_seconds"]], on=keys)


def changes(
    table: pd.DataFrame, figures: Sequence[str], *, against: str = "baseline"
) -> pd.DataFrame:
    """Return ``table`` with ``change_<figure>`` against a scenario of the same data and seed, %."""
    table = comparison.add_changes(table, figures, scenario=against)
    table[[f"change_{name}" for name in figures]] *= 100
    return table
