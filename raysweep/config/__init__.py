"""Read and check settings: YAML, catalogues of names, seeds, the `training` block."""

from raysweep.config.measure import Canaries, Measure
from raysweep.config.plain_values import from_plain, to_plain
from raysweep.config.seeds import check_seed, sub_seed
from raysweep.config.training import Optimizer, Positive, PrivateTraining, Training

__all__ = [
    "Canaries",
    "Measure",
    "Optimizer",
    "Positive",
    "PrivateTraining",
    "Training",
    "check_seed",
    "from_plain",
    "sub_seed",
    "to_plain",
]
