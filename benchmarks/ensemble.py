"""Compare training sixteen shadow models at once with training them one after the other.

python -m benchmarks.shadows [--json] [--repeats 5]: real digits, one thread, the quickstart's
model, training and sizes. Both ways run in turn in one process. `packing_speedup` is without a
defence, the others with one. `largest_difference` is between weights after all epochs in float32.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

import raysweep
from benchmarks.common import finish, options, spread
from raysweep import data
from raysweep.training.packing import Packing
from raysweep.trial.preflight import recipe_of

SPACE = "search_spaces/quickstart.yaml"
SHADOWS = 16
CASES: dict[str, dict[str, Any]] = {
    "packing": {},
    "packing_dropout_l2": {"dropout": 0.3, "l2": 1e-3},
    "packing_dp": {"epsilon": 8.0},
}


def main() -> None:
    """Train the shadows both ways, and print speed-ups and differences."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space, cpu = raysweep.load_space(SPACE), torch.device("cpu")
    config = space.baseline()
    splits = data.load(config.dataset, seed=config.seed)

    result: dict[str, Any] = {"shadows": SHADOWS}
    for name, values in CASES.items():
        recipe = recipe_of(space.config(values), splits)
        orders = [np.random.default_rng(k).permutation(len(splits.pool)) for k in range(SHADOWS)]
        members = [splits.pool.rows(order[: len(splits.members)]) for order in orders]
        packing = Packing(recipe, members, list(range(SHADOWS)), cpu)
        assert packing.is_faster
        packing.train()  # warm up
        ratios, gaps = [], []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            alone = list(packing.train_one_by_one())
            middle = time.perf_counter()
            together = packing.train()
            ratios.append((middle - start) / (time.perf_counter() - middle))
            gaps += [
                float((p - q).detach().abs().max())
                for a, b in zip(alone, together, strict=True)
                for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True)
            ]
        result |= {f"{name}_speedup": spread(ratios)["median"]}
        result |= {f"{name}_speedup_spread": spread(ratios)}
        result |= {f"{name}_largest_difference": max(gaps)}

    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
