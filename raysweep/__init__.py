"""raysweep: the most accuracy for the least leakage.

    space = raysweep.load_space("search_spaces/quickstart.yaml")
    raysweep.sweep(space, out="results/quickstart")
    raysweep.load("results/quickstart").front()

Everything is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysweep.driver.sweep import sweep
    from raysweep.records.results import load
    from raysweep.space.parsing import load_space
    from raysweep.trial.run import run_trial


_HOMES = {
    "load": "raysweep.records.results",
    "load_space": "raysweep.space.parsing",
    "run_trial": "raysweep.trial.run",
    "sweep": "raysweep.driver.sweep",
}

__all__ = ["load", "load_space", "run_trial", "sweep"]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'raysweep' has no attribute {name!r}")
