"""Measure recipes by ensembles: what `measure` finds on undefended and on defended targets.

python -m benchmarks.recipes [--json] [--only digits] [--models 16] [--populations 2]: real data,
the cases below. Each population has a seed of its own, which changes deal, halves, weights,
batches and noise. Printed are the accuracy of the recipe, the AUC that counts, and the pooled TPR
at a false-positive rate of 0.1 % and 1 %, which is null where the decisions are too few, then AUC
and TPR by attack.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import raysweep
from benchmarks.common import finish, options, spread
from benchmarks.membership import DIGITS, FASHION
from raysweep.space.parsing import parse_space
from raysweep.space.space import Space

MNIST = """
dataset: {name: mnist, members: 1000, nonmembers: 1000, pool: 2000, validation: 1000, test: 0}
model: {name: mlp, hidden: [128], activation: tanh}
training: {epochs: 30, batch_size: 64, learning_rate: 3e-3}
"""

OVERFITTED = (
    FASHION.replace("epochs: 30", "epochs: 50")
    + """
model: {name: thesis_cnn, activation: relu}
"""
)

FASHION_MLP = FASHION + "model: {name: mlp, hidden: [256], activation: relu}\n"

TARGETS = {"digits": DIGITS, "mnist": MNIST, "fashion": FASHION_MLP, "overfitted": OVERFITTED}

ATTACKS = {
    "digits": ["loss", "rmia", "lira"],
    "mnist": ["loss", "rmia", "lira"],
    "fashion": ["loss", "rmia", "lira"],
    "overfitted": ["loss", "rmia"],  # `lira` would train four shadows of the trial's own model
}

CASES: dict[str, dict[str, dict[str, float]]] = {
    "digits": {
        "undefended": {},
        "epsilon_8": {"target_epsilon": 8.0},
        "epsilon_2": {"target_epsilon": 2.0},
        "epsilon_0_7": {"target_epsilon": 0.7},
    },
    "mnist": {"undefended": {}, "label_smoothing": {"label_smoothing": 0.3}},
    "fashion": {"undefended": {}, "epsilon_8": {"target_epsilon": 8.0}},
    "overfitted": {"undefended": {}},
}
"""Target -> name of a recipe -> its defences."""

FIGURES = ("accuracy", "attack_auc", "tpr_at_fpr_0_001", "tpr_at_fpr_0_01")


def space(target: str, models: int) -> Space:
    """Return the space of a target, attacked with and without references."""
    fixed = "defences: {max_grad_norm: 0.5}\nsampler: {name: random, trials: 1}\n"
    search = "search: {label_smoothing: {low: 0, high: 0.5},\n"
    search += "  target_epsilon: {low: 0.5, high: 16, or: .inf}}\n"
    attacks = f"attacks: {{membership: {ATTACKS[target]}}}\nmeasure: {{models: {models}}}\n"
    return parse_space(f"name: {target}\n{TARGETS[target]}{fixed}{search}{attacks}", target)


def measure(on: Space, defences: Mapping[str, float], seed: int) -> dict[str, Any]:
    """Return the figures of one recipe on one population."""
    result = raysweep.run_trial(on.config({**defences, "seed": seed}))
    of_recipe = [row for row in result.attacks if row.models > 1]
    by_attack = {
        f"{name}_of_{row.attack}": getattr(row, name)
        for row in of_recipe
        for name in ("auc", *FIGURES[2:])
    }
    return {name: getattr(result.trial, name) for name in FIGURES} | by_attack


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all recipes, and print their figures."""
    parser = options(__doc__)
    parser.add_argument("--only", choices=TARGETS, help="one target")
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--populations", type=int, default=2)
    given = parser.parse_args(arguments)

    result: dict[str, Any] = {"models": given.models}
    for target in [given.only] if given.only else TARGETS:
        on = space(target, given.models)
        for name, defences in CASES[target].items():
            found = []
            for seed in range(given.populations):
                found.append(measure(on, defences, seed))
                print(f"{target} {name}, seed {seed}: {found[-1]}", file=sys.stderr, flush=True)
            for figure in found[0]:
                known = [one[figure] for one in found if one[figure] is not None]
                result[f"{target}_{name}_{figure}"] = spread(known) if known else None

    finish(result, as_json=given.json)


if __name__ == "__main__":
    main()
