"""Compare a DP-SGD step of the thesis CNN with Opacus and with plain training.

python -m benchmarks.dp_step [--json] [--repeats 5]: real Fashion-MNIST, 28x28, Poisson batches of
256 expected, one thread, fp32. Each variant runs in a process of its own, one after the other, in
turn: Opacus as in its manual (hooks, its DataLoader, the process environment unchanged), raysweep's
`train` with DP-SGD, and raysweep's `train` without. A figure is the mean time of the 20 steps of an
epoch, after an epoch of warm-up. The ratios are medians over the repeats; each divides two times of
one turn. `relative_error` is that of the clipped sum of one batch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.common import finish, options, spread

MEMBERS, BATCH, EPOCHS = 5120, 256, 2
VARIANTS = ("opacus", "raysweep", "plain")


def members() -> Any:
    """Return MEMBERS real images."""
    from raysweep import data

    sizes = {"members": MEMBERS, "nonmembers": 100, "pool": 10, "validation": 10, "test": 10}
    return data.load({"name": "fashion_mnist", **sizes}, seed=0).members


def opacus_step() -> float:
    """Return seconds a step of training as in Opacus' manual."""
    import torch
    import torch.nn.functional as F
    from opacus import PrivacyEngine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    examples = members()
    x = torch.from_numpy(examples.pixels())
    y = torch.from_numpy(examples.labels)
    torch.manual_seed(0)
    model: Any = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1152, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    model, optimizer, loader = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.5),
        data_loader=DataLoader(TensorDataset(x, y), batch_size=BATCH),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    taken = 0.0
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        taken = time.perf_counter() - start
    return taken / len(loader)


def raysweep_step(*, private: bool) -> float:
    """Return seconds a step of raysweep's training."""
    import torch

    from raysweep.config import Training
    from raysweep.defences import Defences
    from raysweep.models import NamedModel
    from raysweep.training.loop import Epoch, train
    from raysweep.training.recipe import plain_recipe

    training = Training(epochs=EPOCHS, batch_size=BATCH, optimizer="sgd", learning_rate=0.5)
    recipe = plain_recipe(NamedModel.parse({"name": "thesis_cnn"}).model.build, training)
    examples = members()
    if private:
        recipe = Defences.parse({"noise_multiplier": 1.0}).apply(recipe, examples)
    ends: list[float] = []

    def note(_epoch: Epoch) -> bool:
        ends.append(time.perf_counter())
        return True

    train(recipe, examples, seed=0, device=torch.device("cpu"), on_epoch=note)
    return (ends[-1] - ends[-2]) / (MEMBERS / BATCH)


def relative_error() -> float:
    """Return the relative difference of raysweep's and Opacus' clipped sums of one real batch."""
    import torch

    from benchmarks.opacus_step import sum_error
    from raysweep.models import NamedModel

    examples = members()
    x = torch.from_numpy(examples.pixels()[:BATCH])
    y = torch.from_numpy(examples.labels[:BATCH])
    torch.manual_seed(0)
    return sum_error(NamedModel.parse({"name": "thesis_cnn"}).model.build((1, 28, 28), 10), x, y)


def measure(variant: str) -> float:
    """Run ``variant`` in a process of its own and return its figure."""
    from raysweep.driver.worker_environment import ALLOCATION

    allocation = {} if variant == "opacus" else ALLOCATION
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dp_step", "--variant", variant],
        env={**os.environ, "OMP_NUM_THREADS": "1", **allocation},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run the variants in turn, and print the ratios of their times."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variant", choices=[*VARIANTS, "error"])
    arguments = parser.parse_args()
    if arguments.variant:
        run = {
            "opacus": opacus_step,
            "raysweep": lambda: raysweep_step(private=True),
            "plain": lambda: raysweep_step(private=False),
            "error": relative_error,
        }
        print(json.dumps(run[arguments.variant]()))
        return

    turns = []
    for number in range(arguments.repeats):
        turns.append({variant: measure(variant) for variant in VARIANTS})
        print(f"repeat {number + 1} of {arguments.repeats}: {turns[-1]}", file=sys.stderr)

    faster = spread([turn["opacus"] / turn["raysweep"] for turn in turns])
    against_plain = spread([turn["raysweep"] / turn["plain"] for turn in turns])
    result = {
        "speedup_over_opacus": faster["median"],
        "speedup_over_opacus_spread": faster,
        "ratio_to_plain": against_plain["median"],
        "ratio_to_plain_spread": against_plain,
        "relative_error": measure("error"),
        "seconds": {name: spread([turn[name] for turn in turns]) for name in VARIANTS},
    }
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
