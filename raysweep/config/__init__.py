"""One trial as plain frozen data, and what turns text and names into it."""

from raysweep.config.trial_config import (
    Optimizer,
    Positive,
    PrivateTraining,
    Training,
    TrialConfig,
    plain,
    sub_seed,
)

__all__ = [
    "Optimizer",
    "Positive",
    "PrivateTraining",
    "Training",
    "TrialConfig",
    "plain",
    "sub_seed",
]
