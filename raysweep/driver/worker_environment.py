"""Copy a user's modules to the workers, and refuse modules that only a stranger's records name."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import raysweep
from raysweep.config.own_class import is_own_key, reference_of
from raysweep.config.user_function import MODULES, user_folders
from raysweep.driver.scratch import scratch_folder
from raysweep.errors import StoreError
from raysweep.records.trial_config import stored_settings
from raysweep.space.space import Space

ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
}
"""Environment variables of the workers that limit page faults and memory.

glibc keeps the memory that a step frees, because the page faults cost a third of a private step.
All threads share one arena: each trial runs in its own thread, and an arena of its own would keep
100 MiB a trial. oneDNN caches few plans, because Poisson batches have hundreds of sizes.
"""

REFERENCE = re.compile(r'"[\w.]+:\w+(\.\w+)?"')

NOT_COPIED = {"__pycache__", "results", "venv", "site-packages"}
"""Folders that hold no code of the user."""


CODE = "code_of_the_user"
"""The folder, inside the one that Ray copies, that holds the user's modules.

Ray puts the folder that it copies before all others on a worker's path, where a file of the user's
with the name of a library would take its place.
"""


@contextlib.contextmanager
def worker_environment(space: Space, *, elsewhere: bool) -> Iterator[dict[str, Any]]:
    """Yield Ray's runtime environment in which workers import the modules that the driver can.

    They get the driver's PYTHONPATH, and look for the functions that a space names in the user's
    folders as the driver does. On other machines (``elsewhere``) the Python files below these
    folders are copied to each node if the space names a function of the user.
    `ray job submit --working-dir` has already copied them.
    """
    variables = ALLOCATION | {"PYTHONPATH": os.pathsep.join(_python_path())}
    environment: dict[str, Any] = {"env_vars": variables}
    if not REFERENCE.search(json.dumps(space.to_plain())):
        yield environment
        return

    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    copied = "working_dir" in (job.get("runtime_env") or {})
    if not elsewhere or copied:
        environment["env_vars"][MODULES] = os.pathsep.join(_user_folders())
        yield environment
        return

    with scratch_folder() as folder:
        _copy_python_files(Path(folder, CODE))
        environment["env_vars"][MODULES] = CODE
        yield environment | {"working_dir": folder}


def _python_path() -> list[str]:
    """Return the folders of PYTHONPATH, and that of raysweep if it is not installed."""
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    ours = str(Path(raysweep.__file__).parent.parent)
    is_installed = ours in map(sysconfig.get_path, ("purelib", "platlib"))
    return list(dict.fromkeys([*given, *([] if is_installed else [ours])]))


def _user_folders() -> list[str]:
    """Return the folders of the user's modules: the working folder, and that of the script."""
    script = os.path.dirname(os.path.realpath(sys.argv[0]))
    is_users = script in sys.path and script != os.path.realpath(sysconfig.get_path("scripts"))
    return list(dict.fromkeys([*user_folders(), *([script] if is_users else [])]))


def _copy_python_files(folder: Path) -> None:
    """Copy the Python files of the user's paths below ``folder``; the first file of a name wins.

    Ray's own `excludes` cannot select Python files alone: a pattern that excludes all other files
    also excludes the folders.
    """
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    for path in (*_user_folders(), *given):
        for place, folders, files in os.walk(path):
            folders[:] = [name for name in folders if name[0] != "." and name not in NOT_COPIED]
            target = folder / Path(place).relative_to(path)
            for name in files:
                if name.endswith(".py") and not (target / name).exists():
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(Path(place, name), target / name)


def refuse_foreign(space: Space, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to run records again that name code which the space does not name.

    Records are data and may come from a stranger. Only a space may name the code to import.

    Raises:
        StoreError: a record names other code.

    """
    names = _names(space)
    references = _references(json.loads(json.dumps(space.to_plain())))
    for row in rows:
        config = stored_settings(row["config"])  # imports nothing
        own_names = {config[block].get("name") for block in ("dataset", "model")}
        foreign = sorted(map(str, (own_names - names) | (_references(config) - references)))
        if foreign:
            raise StoreError(
                f"the record of trial {row['trial_id']} names {foreign[0]!r}, "
                "which the space does not; it is not run again"
            )


def _references(value: Any) -> set[str]:
    """Return all texts in plain values that may name a user's function or class."""
    if isinstance(value, Mapping):
        keys = [reference_of(key) if is_own_key(key) else key for key in value]
        value = [*keys, *value.values()]
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return {value} if isinstance(value, str) and ":" in value else set()


def _names(space: Space) -> set[Any]:
    """Return the data sets and models that the trials of a space can have."""
    names = [space.document[block]["name"] for block in ("dataset", "model")]
    for key in ("dataset.name", "model.name"):
        names += space.axes[key].choices() or [] if key in space.axes else []
        for settings in space.scenarios.values():
            values = settings.get(key, [])
            names += values if isinstance(values, list) else [values]
    return set(names)
