"""Measure what each default membership attack finds, on undefended and on defended targets.

python -m benchmarks.membership [--json] [--targets 8]: real data, the cases below. Each target has
a seed of its own, which changes split, weights, batches, noise and shadow. The attacks are those of
a space without a block `attacks`, run and judged as in every trial. Printed are the AUC and the TPR
at a false-positive rate of 1 % of each attack, and of `rmia` minus those of the best of the others
on the same target (`gain`), where the best is the one with the highest mean over the targets.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import raysweep
from benchmarks.common import finish, options, spread
from raysweep.attacks import DEFAULT_ATTACKS, metrics
from raysweep.space.parsing import parse_space
from raysweep.space.space import Space

DIGITS = """
dataset: {name: digits, members: 400, nonmembers: 400, pool: 800, validation: 197, test: 0}
model: {name: mlp, hidden: [128], activation: tanh}
training: {epochs: 30, batch_size: 32, learning_rate: 3e-3,
           private: {optimizer: sgd, learning_rate: 1.0, batch_size: 128}}
"""

FASHION = """
dataset:
  {name: fashion_mnist, members: 1000, nonmembers: 2000, pool: 3000, validation: 1000, test: 0}
training: {epochs: 30, batch_size: 32, learning_rate: 1e-3,
           private: {optimizer: sgd, learning_rate: 0.5, momentum: 0.9, batch_size: 256}}
"""

TARGETS = {
    "digits_mlp": DIGITS,
    "fashion_mlp": FASHION + "model: {name: mlp, hidden: [256], activation: relu}\n",
    "fashion_cnn": FASHION + "model: {name: thesis_cnn, widths: [8, 16, 32], activation: relu}\n",
}

DEFENCES: dict[str, dict[str, Any]] = {
    "undefended": {},
    "dropout_l2": {"dropout": 0.4, "l2": 1e-2},
    "epsilon_8": {"target_epsilon": 8.0},
}

MEASURES = ("auc", "tpr_at_fpr_0_01")

Figures = dict[str, dict[str, float]]
"""Attack -> measure -> figure."""


def space(target: str, training: Mapping[str, Any] | None = None) -> Space:
    """Return the space of a kind of target, attacked by the default membership attacks."""
    attacks = f"attacks: {{membership: {DEFAULT_ATTACKS['membership']}}}\n"
    fixed = "defences: {l2_scope: output, max_grad_norm: 0.5}\nsampler: {name: random, trials: 1}\n"
    search = "search: {dropout: {low: 0, high: 0.7}, l2: {low: 0, high: 1},\n"
    search += "  target_epsilon: {low: 0.5, high: 16, or: .inf}}\n"
    text = f"name: {target}\n{TARGETS[target]}{fixed}{search}{attacks}"
    return parse_space(text, target, {f"training.{k}": v for k, v in (training or {}).items()})


def measure(on: Space, values: Mapping[str, Any], seed: int) -> Figures:
    """Return the figures of each attack on one target."""
    result = raysweep.run_trial(on.config({**values, "seed": seed}))
    return {
        rows.attack: {
            "auc": metrics.auc(rows.score, rows.member),
            "tpr_at_fpr_0_01": tpr_at(0.01, rows.score, rows.member),
        }
        for rows in result.scores
    }


def tpr_at(fpr: float, scores: NDArray[np.float64], is_member: NDArray[np.bool_]) -> float:
    """Return the TPR at the largest false-positive rate of these examples that is at most ``fpr``.

    On one target with few nonmembers it is too uncertain for a record. Here it is averaged.
    """
    fprs, tprs = metrics.roc(scores, is_member)
    return float(tprs[fprs <= fpr + 1e-9].max())


def compare(targets: Sequence[Figures], measure: str) -> dict[str, Any]:
    """Return each attack's figure with its spread, and what rmia adds to the best of the others."""
    figures = {name: [each[name][measure] for each in targets] for name in targets[0]}
    others = [name for name in figures if name != "rmia"]
    best = max(others, key=lambda name: sum(figures[name]))
    pairs = zip(figures["rmia"], figures[best], strict=True)
    return {name: spread(found) for name, found in figures.items()} | {
        "best_of_the_others": best,
        "gain": spread([rmia - other for rmia, other in pairs]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and attack all targets, and print the figures."""
    parser = options(__doc__)
    parser.add_argument("--targets", type=int, default=8, help="targets of each kind and defence")
    parser.add_argument("--only", choices=TARGETS, help="one kind of target")
    parser.add_argument("--epochs", type=int, help="shorter training, to try the benchmark")
    given = parser.parse_args(arguments)
    training = {"epochs": given.epochs} if given.epochs else {}

    result: dict[str, Any] = {}
    for kind in [given.only] if given.only else TARGETS:
        on = space(kind, training)
        for defence, values in DEFENCES.items():
            found = []
            for seed in range(given.targets):
                found.append(measure(on, values, seed))
                print(f"{kind} {defence}, seed {seed}: {found[-1]['rmia']}", file=sys.stderr)
            result |= {f"{kind}_{defence}_{m}": compare(found, m) for m in MEASURES}

    finish(result, as_json=given.json)


if __name__ == "__main__":
    main()
