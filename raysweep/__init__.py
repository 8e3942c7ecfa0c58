"""Find the training configurations that give the most accuracy for the least leakage.

    space = raysweep.load_space("search_spaces/quickstart.yaml")
    raysweep.sweep(space, out="results/quickstart")
    raysweep.load("results/quickstart").front()

The names in ``__all__`` are the public interface. Each is imported when it is first used, so that
``import raysweep`` loads neither torch nor Ray nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysweep.driver.confirm import confirm
    from raysweep.driver.sweep import sweep
    from raysweep.errors import (
        ClusterError,
        DataError,
        MachineFailure,
        ModelError,
        NotFinite,
        OutOfMemory,
        PrivacyError,
        RaysweepError,
        SpaceError,
        StoreBusy,
        StoreError,
        TrainingDiverged,
    )
    from raysweep.records.columns import (
        AttackRecord,
        EpochRecord,
        Rung,
        TrialRecord,
        TrialResult,
    )
    from raysweep.records.objectives import Objectives
    from raysweep.records.results import Results, load
    from raysweep.records.summary import Summary
    from raysweep.records.trial_config import TrialConfig
    from raysweep.space.parsing import load_space
    from raysweep.space.space import Space
    from raysweep.trial.model_card import ModelCard
    from raysweep.trial.run import run_trial
    from raysweep.trial.saved_model import Trained, load_model, save_model

    __version__: str

__all__ = [
    "AttackRecord",
    "ClusterError",
    "DataError",
    "EpochRecord",
    "MachineFailure",
    "ModelCard",
    "ModelError",
    "NotFinite",
    "Objectives",
    "OutOfMemory",
    "PrivacyError",
    "RaysweepError",
    "Results",
    "Rung",
    "Space",
    "SpaceError",
    "StoreBusy",
    "StoreError",
    "Summary",
    "Trained",
    "TrainingDiverged",
    "TrialConfig",
    "TrialRecord",
    "TrialResult",
    "__version__",
    "confirm",
    "load",
    "load_model",
    "load_space",
    "run_trial",
    "save_model",
    "sweep",
]

_MODULES = {  # public name -> the module that defines it; errors are in raysweep.errors
    "AttackRecord": "raysweep.records.columns",
    "EpochRecord": "raysweep.records.columns",
    "ModelCard": "raysweep.trial.model_card",
    "Objectives": "raysweep.records.objectives",
    "Results": "raysweep.records.results",
    "Rung": "raysweep.records.columns",
    "Space": "raysweep.space.space",
    "Summary": "raysweep.records.summary",
    "Trained": "raysweep.trial.saved_model",
    "TrialConfig": "raysweep.records.trial_config",
    "TrialRecord": "raysweep.records.columns",
    "TrialResult": "raysweep.records.columns",
    "confirm": "raysweep.driver.confirm",
    "load": "raysweep.records.results",
    "load_model": "raysweep.trial.saved_model",
    "load_space": "raysweep.space.parsing",
    "run_trial": "raysweep.trial.run",
    "save_model": "raysweep.trial.saved_model",
    "sweep": "raysweep.driver.sweep",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'raysweep' has no attribute {name!r}")

    if name == "__version__":
        from importlib.metadata import version

        return version("raysweep")

    return getattr(importlib.import_module(_MODULES.get(name, "raysweep.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
