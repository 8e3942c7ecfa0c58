"""Compare training K models of one recipe at once with training them one after the other.

python -m benchmarks.ensemble [--json] [--models 16] [--repeats 5]: real digits, the quickstart's
model, training and sizes, processor time of one thread. `packed_over_one` is the time of K models
at once over that of one model, without a defence; the others have one, and those of `cnn` train
`thesis_cnn` with widths 8-16-32. Both ways run in turn in one process, which allocates memory as
the workers of a sweep do. `largest_difference` is between the weights after all epochs in float32.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.common import finish, options, spread
from raysweep import data
from raysweep.data import Split
from raysweep.driver.worker_environment import ALLOCATION
from raysweep.space.parsing import load_space
from raysweep.training.packing import Packing
from raysweep.training.target import TrainedTarget
from raysweep.trial.preflight import recipe_of

SPACE = "search_spaces/quickstart.yaml"
CASES: dict[str, dict[str, Any]] = {
    "packed_over_one": {},
    "packed_over_one_dropout_l2": {"dropout": 0.3, "l2": 1e-3},
    "packed_over_one_private": {"target_epsilon": 8.0},
    "packed_over_one_private_dropout": {"target_epsilon": 8.0, "dropout": 0.3},
    "packed_over_one_cnn": {},
    "packed_over_one_cnn_private": {"target_epsilon": 8.0},
}
CNN = {"model": {"name": "thesis_cnn", "widths": [8, 16, 32], "dense": 64}}


def draw_members(pool: Split, n: int, k: int) -> list[Split]:
    """Return ``k`` random halves of ``n`` examples."""
    orders = [np.random.default_rng(number).permutation(len(pool)) for number in range(k)]
    return [pool.rows(order[:n]) for order in orders]


def train_both_ways(packing: Packing, k: int) -> tuple[float, float]:
    """Return the time of all ``k`` at once over that of one, and the weights' difference."""
    start = time.process_time()
    alone = list(packing.train_one_by_one())
    middle = time.process_time()
    together = packing.train()
    end = time.process_time()
    return k * (end - middle) / (middle - start), largest_difference(alone, together)


def largest_difference(alone: list[TrainedTarget], together: list[TrainedTarget]) -> float:
    """Return the largest difference of two weights of models that should be equal."""
    return max(
        float((p - q).detach().abs().max())
        for a, b in zip(alone, together, strict=True)
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True)
    )


def allocate_as_workers_do() -> None:
    """Start this process again with the workers' variables, which are read once, at its start."""
    if not ALLOCATION.items() <= os.environ.items():
        command = [sys.executable, "-m", "benchmarks.ensemble", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ALLOCATION})


def main() -> None:
    """Train K models both ways, and print ratios and differences."""
    parser = options(__doc__)
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    allocate_as_workers_do()
    torch.set_num_threads(1)
    dense, convolutional, k = load_space(SPACE), load_space(SPACE, CNN), arguments.models
    splits = data.load(dense.baseline().dataset, seed=dense.baseline().seed)
    members = draw_members(splits.pool, len(splits.members), k)

    result: dict[str, Any] = {"models": k}
    for name, values in CASES.items():
        space = convolutional if "_cnn" in name else dense
        recipe = recipe_of(space.config(values), splits)
        packing = Packing(recipe, members, list(range(k)), torch.device("cpu"))
        packing.train()  # warm up
        pairs = [train_both_ways(packing, k) for _ in range(arguments.repeats)]
        result[name] = spread([ratio for ratio, _ in pairs])
        result[f"{name}_largest_difference"] = max(difference for _, difference in pairs)
        print(name, result[name]["median"], file=sys.stderr, flush=True)

    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
