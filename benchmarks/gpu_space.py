"""The space, the models and the clock of the GPU's benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

import raysweep

SPACE = "benchmarks/spaces/trial_fashion_mnist.yaml"

QUICK = {
    "dataset.members": 100,
    "dataset.nonmembers": 100,
    "dataset.pool": 200,
    "dataset.validation": 100,
    "training.epochs": 1,
}
"""Settings of the space with ``--quick``."""

MODELS: dict[str, dict[str, Any]] = {
    "thesis_cnn": {"name": "thesis_cnn"},
    "vgg4": {"name": "vgg4", "norm": "group"},
    "mlp": {"name": "mlp", "hidden": [128], "activation": "tanh"},
}


def load(quick: bool, **more: Any) -> raysweep.Space:
    """Return the space of the benchmark, with ``more`` settings of it."""
    return raysweep.load_space(SPACE, {**(QUICK if quick else {}), **more})


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(task: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that ``task`` takes on the device."""
    wait_for(device)
    start = time.perf_counter()
    task()
    wait_for(device)
    return time.perf_counter() - start
