"""Measure how often a sweep claims that a recipe leaks less, where none does and where one does.

python -m benchmarks.claims [--json] [--sweeps 100] [--recipes 40] [--models 16] [--members 350]:
synthetic sweeps. The log-odds of all models are drawn, where examples differ in difficulty and in
how well they are remembered, and models in confidence. Everything from there on is what a sweep
does: `rmia` with references, the parts of each pair of models and example, the front, the intervals
corrected for all recipes. The recipes of a sweep are identical, or one leaks less (`planted`).
`claims` counts the sweeps of identical recipes whose report may name an improvement, `found`
those whose report may name the planted one. It takes no training.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common import finish, options, spread
from raysweep.attacks import parts, recipe_metrics
from raysweep.attacks.membership.likelihood_ratio import Rmia
from raysweep.records.objectives import Objectives
from raysweep.records.standing import standing
from raysweep.trial.ensemble import scores_online
from raysweep.trial.population import halves

OBJECTIVES = Objectives.of("accuracy", "attack_auc")

REMEMBERED = 0.95  # mean gain in log-odds of an example that a model was trained on
PLANTED = 0.5  # the same of the recipe that leaks less

N_VALIDATION = 200

Floats = NDArray[np.float64]


class Population:
    """The examples and the halves that all recipes of one synthetic sweep share."""

    def __init__(self, n_members: int, models: int, *, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.inside = halves(n_members, models, seed=seed)
        self.difficulty = self.rng.normal(0, 2, size=2 * n_members)
        self.memory = self.rng.exponential(1, size=2 * n_members)
        self.validation = self.rng.normal(0, 2, size=N_VALIDATION)

    def recipe(self, remembered: float) -> dict[str, Floats]:
        """Return the parts (K, n) of the figures of a recipe whose models were drawn anew."""
        k, n = self.inside.shape
        confidence = self.rng.normal(2, 0.3, size=(k, 1))
        noise = self.rng.normal(0, 1, size=(k, n))
        gain = remembered * self.memory * self.inside
        odds = confidence + self.difficulty + gain + noise
        judged = confidence + self.validation + self.rng.normal(0, 1, size=(k, N_VALIDATION))
        return {
            "accuracy": (judged > 0).astype(float),
            "attack_auc": parts.of_auc(scores_online(Rmia(), odds, self.inside), self.inside),
        }


def claimed(recipes: Sequence[dict[str, Floats]]) -> list[str]:
    """Return the recipes, by number, that a report may say to leak less than the first."""
    ids = [f"{number:02d}" for number in range(len(recipes))]
    means = {name: [cells[name].mean() for cells in recipes] for name in OBJECTIVES.names}
    fixed = {"status": "ok", "collapsed": False, "n_classes": 10, "inversion_floor": None}
    trials = pd.DataFrame({"trial_id": ids, "number": range(len(ids)), **fixed, **means})
    rows = [_row(one, name, cells[name]) for one, cells in zip(ids, recipes, strict=True)
            for name in OBJECTIVES.names]  # fmt: skip
    front = OBJECTIVES.front(trials)
    stand = standing(OBJECTIVES, trials, front, lambda _ids: pd.DataFrame(rows))
    on_front = map(str, stand.front["trial_id"])
    return [one for one in on_front if stand.of_recipes and stand.leaks_less(one)]


def _row(trial: str, figure: str, cells: Floats) -> dict[str, Any]:
    units = recipe_metrics.by_pair(cells)
    return {
        "trial_id": trial,
        "figure": figure,
        "of_models": units.mean(axis=1),
        "example": np.arange(units.shape[1]),
        "of_examples": units.mean(axis=0),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the sweeps, and print how often an improvement is claimed and found."""
    parser = options(__doc__)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--recipes", type=int, default=40)
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--members", type=int, default=350)
    given = parser.parse_args(arguments)

    claims, found, others, same, better = 0, 0, 0, [], []
    for seed in range(given.sweeps):
        drawn = Population(given.members, given.models, seed=seed)
        recipes = [drawn.recipe(REMEMBERED) for _ in range(given.recipes)]
        planted = drawn.recipe(PLANTED)
        claims += bool(claimed(recipes))
        named = claimed([*recipes[:-1], planted])
        found += f"{given.recipes - 1:02d}" in named
        others += bool(set(named) - {f"{given.recipes - 1:02d}"})
        same.append(float(np.mean([cells["attack_auc"].mean() for cells in recipes])))
        better.append(float(planted["attack_auc"].mean()))
        print(f"sweep {seed}: {claims} claims, {found} found", file=sys.stderr, flush=True)

    result = {
        "sweeps": given.sweeps,
        "claims": claims,
        "found": found,
        "others_named": others,
        "attack_auc": spread(same),
        "attack_auc_planted": spread(better),
    }
    finish(result, as_json=given.json)


if __name__ == "__main__":
    main()
