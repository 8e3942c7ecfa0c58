"""How a user's own modules reach the workers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from raysweep.errors import StoreError
from raysweep.records.trial_config import TrialConfig
from raysweep.space.space import Space

REFERENCE = re.compile(r'"[\w.]+:\w+"')

OTHERS = {"__pycache__", "results", "venv", "site-packages"}  # folders without code of the user's


@contextlib.contextmanager
def environment(space: Space, *, elsewhere: bool) -> Iterator[dict[str, Any]]:
    """Yield the part of Ray's runtime environment that lets workers import what the driver can.

    On this machine they get the driver's own path, working folder first. ``elsewhere``, when the
    space names functions of the user's, the Python files below the working folder and PYTHONPATH
    are copied to every node, unless `ray job submit --working-dir` has already done so.
    """
    found: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(_paths())}}
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    copied = "working_dir" in (job.get("runtime_env") or {})
    if not elsewhere or copied or not REFERENCE.search(json.dumps(space.resolved())):
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="raysweep-code-") as folder:
        _gather(Path(folder))
        yield found | {"working_dir": folder}


def _paths() -> list[str]:
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([os.getcwd(), *(path for path in given if path)]))


def _gather(folder: Path) -> None:
    """Copy the Python files of the user's paths below ``folder``; the first of a name counts.

    Ray's own `excludes` cannot say "Python files and nothing else": it asks about folders as if
    they were files, and what excludes all files excludes all folders with them.
    """
    for path in _paths():
        for place, folders, files in os.walk(path):
            folders[:] = [name for name in folders if name[0] != "." and name not in OTHERS]
            target = folder / Path(place).relative_to(path)
            for name in files:
                if name.endswith(".py") and not (target / name).exists():
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(Path(place, name), target / name)


def refuse_foreign(space: Space, rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise :class:`StoreError` when a record to be run again names code that the space does not.

    Records are data and may come from a stranger; only a space may say what is imported.
    """
    known = _names(space)
    references = _references(json.loads(json.dumps(space.resolved())))
    for row in rows:
        config = TrialConfig.from_json(row["config"])
        named = {config.dataset.name, config.model.name} - known
        foreign = sorted(named | (_references(json.loads(config.to_json())) - references))
        if foreign:
            told = f"the record of trial {row['trial_id']} names {foreign[0]!r}"
            raise StoreError(f"{told}, which the space does not; it is not run again")


def _references(value: Any) -> set[str]:
    """Return all texts in plain values that could name a function, ``module:function``."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return {value} if isinstance(value, str) and ":" in value else set()


def _names(space: Space) -> set[Any]:
    """Return the data sets and models that a space lets its trials have."""
    names = [space.document[block]["name"] for block in ("dataset", "model")]
    for key in ("dataset.name", "model.name"):
        names += space.axes[key].choices() or [] if key in space.axes else []
        for settings in space.scenarios.values():
            values = settings.get(key, [])
            names += values if isinstance(values, list) else [values]
    return set(names)
