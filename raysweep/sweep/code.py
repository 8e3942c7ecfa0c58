"""How a user's own modules reach the workers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from raysweep.config import TrialConfig
from raysweep.errors import StoreError
from raysweep.registry import is_reference
from raysweep.space import Space

# Python files below the working folder and nothing else, in the manner of .gitignore.
ONLY_CODE = ["*", "!*/", "!*.py", ".*/", "__pycache__/", "results/", "venv/", "site-packages/"]


def environment(space: Space, *, elsewhere: bool) -> dict[str, Any]:
    """Return the part of Ray's runtime environment that lets workers import what the driver can.

    On this machine they get the driver's own path, working folder first. ``elsewhere``, when the
    space names functions of the user's, the Python files below the working folder are copied to
    every node, unless `ray job submit --working-dir` has already done so.
    """
    found: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(_paths())}}
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    copied = "working_dir" in (job.get("runtime_env") or {})
    if elsewhere and not copied and any(is_reference(name) for name in _names(space)):
        found |= {"working_dir": os.getcwd(), "excludes": ONLY_CODE}
    return found


def _paths() -> list[str]:
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([os.getcwd(), *(path for path in given if path)]))


def refuse_foreign(space: Space, rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise :class:`StoreError` when a record to be run again names code that the space does not.

    Records are data and may come from a stranger; only a space may say what is imported.
    """
    known = _names(space)
    for row in rows:
        config = TrialConfig.from_json(row["config"])
        for name in (config.dataset["name"], config.model["name"]):
            if name not in known:
                told = f"the record of trial {row['trial_id']} names {name!r}"
                raise StoreError(f"{told}, which the space does not; it is not run again")


def _names(space: Space) -> set[Any]:
    names = [space.document[block]["name"] for block in ("dataset", "model")]
    for key in ("dataset.name", "model.name"):
        names += space.axes[key].choices() or [] if key in space.axes else []
    return set(names)
