"""Versions and times that records carry, and the record of a trial that failed."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from functools import lru_cache

from raysweep.records.columns import TrialRecord
from raysweep.records.priors import columns_at
from raysweep.records.trial_config import TrialConfig

PACKAGES = ("raysweep", "torch", "opacus", "numpy", "ray", "optuna")


@lru_cache(maxsize=1)
def versions() -> str:
    """Return the versions that a result depends on, as JSON."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return json.dumps({"python": platform.python_version(), **packages})


def now() -> str:
    """Return the time in UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def failed_record(config: TrialConfig, error: str) -> TrialRecord:
    """Return the row of a failed trial: its configuration and the reason, no measurements."""
    return TrialRecord(
        trial_id=config.trial_id,
        recipe=config.recipe,
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
        ppv_at_priors=dict.fromkeys(columns_at(config.attacks.prior)),
    )
