"""Compare settings of DP-SGD on digits, Fashion-MNIST and a small table, to choose the defaults.

python -m benchmarks.private_training [--json] [--seeds 3]: prints the validation accuracy of each
setting in each task at epsilon 2 and 8 (mean, spread), and how many trials collapsed. About
half an hour on one core. The split changes with the seed.
"""

import itertools
import sys
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

import raysweep
from benchmarks.common import finish, options, spread

DIGITS = {"name": "digits", "members": 500, "nonmembers": 200, "pool": 0, "validation": 400}
FASHION = {
    "name": "fashion_mnist",
    "members": 1000,
    "nonmembers": 500,
    "pool": 0,
    "validation": 2000,
    "test": 0,
}
TABLE = {
    "name": "benchmarks.private_training:breast_cancer",
    "members": 280,
    "nonmembers": 100,
    "pool": 0,
    "validation": 150,
    "test": 0,
}
MLP = {"name": "mlp", "hidden": [128]}
CNN = {"name": "thesis_cnn", "widths": [8, 16, 32]}

TASKS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "digits, mlp": (DIGITS, MLP, 30),
    "digits, cnn": (DIGITS, CNN, 30),
    "breast cancer, mlp": (TABLE, MLP, 30),
    "Fashion-MNIST, mlp": (FASHION, MLP, 30),
    "Fashion-MNIST, cnn": (FASHION, CNN, 30),
}
"""Name -> data set, model and epochs."""

_MOMENTUM = {"optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.9}

SETTINGS: dict[str, dict[str, Any]] = {
    "adam 0.001, batches of 64": {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 64},
    "sgd 1, batches of 256": {"optimizer": "sgd", "learning_rate": 1.0, "batch_size": 256},
    "sgd 1, batches of 128": {"optimizer": "sgd", "learning_rate": 1.0, "batch_size": 128},
    "sgd 0.5, momentum 0.9, batches of 256": {**_MOMENTUM, "batch_size": 256},
    "sgd 0.5, momentum 0.9, batches of 1024": {**_MOMENTUM, "batch_size": 1024},
}


def breast_cancer() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the 569 rows of Wisconsin's table, 30 columns scaled to [0, 1], two classes."""
    features, labels = load_breast_cancer(return_X_y=True)
    low, high = features.min(axis=0), features.max(axis=0)
    return (features - low) / (high - low), labels


def accuracies(
    task: str, private: dict[str, Any], epsilon: float, n_seeds: int
) -> tuple[list[float], int]:
    """Return the validation accuracy of each seed, and how many of the trials collapsed."""
    dataset, model, epochs = TASKS[task]
    reached, n_collapsed = [], 0
    for seed in range(n_seeds):
        document = {
            "dataset": dataset,
            "model": model,
            "training": {"epochs": epochs, "private": private},
            "attacks": {"membership": ["loss"], "inversion": {}},
            "defences": {"target_epsilon": epsilon},
            "seed": seed,
        }
        record = raysweep.run_trial(raysweep.TrialConfig.parse(document)).trial
        assert record.accuracy is not None
        reached.append(record.accuracy)
        n_collapsed += bool(record.collapsed)
    return reached, n_collapsed


def main() -> None:
    """Train every task with every setting and print the accuracies."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    for task in arguments.tasks:
        plain, _ = accuracies(task, {}, inf, arguments.seeds)
        result[f"{task}, no DP"] = spread(plain)
        print(task, "no DP", spread(plain)["mean"], file=sys.stderr, flush=True)

        for name, epsilon in itertools.product(arguments.settings, (2.0, 8.0)):
            reached, n_collapsed = accuracies(task, SETTINGS[name], epsilon, arguments.seeds)
            key = f"{task}, epsilon {epsilon:g}, {name}"
            result[key] = spread(reached) | {"collapsed": n_collapsed}
            print(key, result[key]["mean"], n_collapsed, file=sys.stderr, flush=True)
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
