"""Where a record comes from: versions, times, and the row of a trial that left nothing else."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from functools import lru_cache

from raysweep.records.columns import TrialRecord
from raysweep.records.trial_config import TrialConfig

PACKAGES = ("raysweep", "torch", "opacus", "numpy", "ray", "optuna")


@lru_cache(maxsize=1)
def versions() -> str:
    """Return the versions that a result depends on, as JSON."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return json.dumps({"python": platform.python_version(), **found})


def now() -> str:
    """Return the time in UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def failed_record(config: TrialConfig, error: str) -> TrialRecord:
    """Return the row of a trial that left nothing but its configuration and a reason."""
    return TrialRecord(
        trial_id=config.trial_id,
        status="failed",
        error=error,
        defences=config.defences,
        seed=config.seed,
        dataset=config.dataset.name,
        model=config.model.name,
        config=config.to_json(),
        versions=versions(),
        node=platform.node(),
        started_at=now(),
    )
