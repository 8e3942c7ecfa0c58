"""Reading and checking settings: YAML, registries of names, seeds, the `training` block."""

from raysweep.config.plain_values import plain, restore
from raysweep.config.seeds import sub_seed
from raysweep.config.training import Optimizer, Positive, PrivateTraining, Training

__all__ = [
    "Optimizer",
    "Positive",
    "PrivateTraining",
    "Training",
    "plain",
    "restore",
    "sub_seed",
]
