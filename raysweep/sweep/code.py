"""How a user's own modules reach the workers."""

from __future__ import annotations

import json
import os
from typing import Any

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
    if elsewhere and not copied and _names_own_code(space):
        found |= {"working_dir": os.getcwd(), "excludes": ONLY_CODE}
    return found


def _paths() -> list[str]:
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([os.getcwd(), *(path for path in given if path)]))


def _names_own_code(space: Space) -> bool:
    names = [space.document[block]["name"] for block in ("dataset", "model")]
    for key in ("dataset.name", "model.name"):
        names += space.axes[key].choices() or [] if key in space.axes else []
    return any(is_reference(name) for name in names)
