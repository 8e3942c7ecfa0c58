"""Measure accuracy, attack AUC and inversion error on real Fashion-MNIST, over five seeds.

python -m benchmarks.fashion_mnist [--json] [--results results]: runs the three spaces
benchmarks/spaces/fashion_*.yaml and prints the first table of docs/benchmarks.md. It takes about an
hour on two cores and continues sweeps that exist.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import raysweep
from benchmarks.common import finish, options, spread

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
LAYERS = ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "flatten", "dense", "output"]


def frames(name: str, folder: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run one space to its end and return its trials and attacks."""
    out = f"{folder}/{name}"
    space = f"benchmarks/spaces/{name}.yaml"
    subprocess.run([RAYSWEEP, "sweep", space, "--out", out], check=True, stdout=sys.stderr)
    results = raysweep.load(out)
    return results.trials, results.attacks


def select_epsilon(trials: pd.DataFrame, epsilon: float) -> pd.DataFrame:
    """Return the trials whose target epsilon is ``epsilon``."""
    return trials[trials["target_epsilon"] == epsilon]


def without_references(attacks: pd.DataFrame) -> list[float]:
    """Return the highest AUC of each trial's attacks that compare with no other model."""
    alone = attacks[(attacks["family"] == "membership") & (attacks["attack"] != "rmia")]
    return [float(auc) for auc in alone.groupby("trial_id")["auc"].max()]


def layer_errors(trials: pd.DataFrame, attacks: pd.DataFrame) -> dict[str, Any]:
    """Return the reconstruction error of each layer of the undefended target, and the floors."""
    is_inversion = attacks["trial_id"].isin(trials["trial_id"]) & (attacks["family"] == "inversion")
    inversions = attacks[is_inversion]
    errors: dict[str, Any] = {
        layer: spread(inversions.loc[inversions["layer"] == layer, "mse"].tolist())
        for layer in LAYERS
    }
    floors = inversions[inversions["layer"] == "output"]
    return errors | {
        "floor_mean_image": spread(floors["floor_mean"].tolist()),
        "floor_class_mean_image": spread(floors["floor_label"].tolist()),
    }


def main() -> None:
    """Run the sweeps and print the figures."""
    parser = options(__doc__)
    parser.add_argument("--results", default="results")
    arguments = parser.parse_args()
    relu, relu_attacks = frames("fashion_relu", arguments.results)
    tanh, _ = frames("fashion_tanh", arguments.results)
    overfitted, overfitted_attacks = frames("fashion_overfitted", arguments.results)
    private = select_epsilon(tanh, 1.0)
    inside = (private["attack_auc_low"] <= 0.5) & (private["attack_auc_high"] >= 0.5)

    result = {
        "accuracy_undefended_relu": spread(select_epsilon(relu, np.inf)["accuracy"].tolist()),
        "accuracy_at_epsilon_8_relu": spread(select_epsilon(relu, 8.0)["accuracy"].tolist()),
        "accuracy_at_epsilon_8_tanh": spread(select_epsilon(tanh, 8.0)["accuracy"].tolist()),
        "train_accuracy_overfitted": spread(overfitted["train_accuracy"].tolist()),
        "accuracy_overfitted": spread(overfitted["accuracy"].tolist()),
        "attack_auc_overfitted": spread(overfitted["attack_auc"].tolist()),
        "auc_without_references_overfitted": spread(without_references(overfitted_attacks)),
        "tpr_at_fpr_0_01_overfitted": spread(overfitted["tpr_at_fpr_0_01"].tolist()),
        "strongest_attack_overfitted": overfitted["strongest_attack"].value_counts().to_dict(),
        "attack_auc_at_epsilon_1": spread(private["attack_auc"].tolist()),
        "seeds_whose_interval_holds_one_half_at_epsilon_1": int(inside.sum()),
        "inversion_mse_undefended": layer_errors(select_epsilon(relu, np.inf), relu_attacks),
    }
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
