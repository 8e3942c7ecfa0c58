"""What Ray needs of the place in which a sweep is started, and what to do where it is missing."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raysweep.errors import ClusterError

SESSION = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")

MIB = 2**20

LEAST_ROOM = 50  # MiB of a temporary folder in which a sweep can begin

LONGEST_SOCKET = 107 if sys.platform.startswith("linux") else 103  # bytes of a socket's path

REMEDIES = {
    "AF_UNIX": "set RAY_TMPDIR to a folder with a short path, such as /tmp/me",
    "No space left": "make room in {folder}, or set RAY_TMPDIR to a folder with room",
    "Read-only": "set RAY_TMPDIR to a folder that you can write",
    "Permission denied": "set RAY_TMPDIR and HOME to folders that you can write",
    "Not a directory": "set RAY_TMPDIR and HOME to folders that you can write",
    "No such file": "set RAY_TMPDIR and HOME to folders that exist",
    "Too many open files": "raise the limit (ulimit -n 65536)",
    "timed out": "this machine is too busy: end other programs, then give the command again",
}
"""Part of Ray's message -> what helps."""


def remedy_for(reason: str) -> str:
    """Return what helps a Ray that does not start on this machine for ``reason``."""
    for part, remedy in REMEDIES.items():
        if part in reason:
            return remedy.format(folder=temporary_folder())
    return "free some memory (end other programs), then give the command again"


def temporary_folder() -> str:
    """Return the folder in which Ray puts its sessions."""
    given = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR")
    return given if given and os.path.isdir(given) else tempfile.gettempdir()


@contextlib.contextmanager
def made_fit(*, here: bool) -> Iterator[dict[str, Any]]:
    """Yield options that a Ray started ``here`` needs, and set variables that it needs.

    Sockets cannot have long paths, so below a long TMPDIR Ray's sessions go to /tmp. Ray keeps its
    token in the home; without one that can be written the token is in the environment alone.

    Raises:
        ClusterError: Ray cannot put its sessions where they belong. Ray itself says so after
            minutes, or never.

    """
    if not here:
        yield {}
        return

    _check_temporary_folder()
    added: dict[str, str] = {}
    if not is_writable_home():
        added["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if not Path(os.path.expanduser("~")).is_absolute():
        added["HOME"] = tempfile.gettempdir()  # which Ray's libraries look for when imported
    if not _has_user():
        added["LOGNAME"] = f"user-{os.getuid()}"

    added = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield {"_temp_dir": "/tmp/ray"} if is_too_long() and may_move() else {}
    finally:
        for name in added:
            os.environ.pop(name, None)


def _check_temporary_folder() -> None:
    folder = temporary_folder()
    if is_too_long():
        if not may_move():
            rule = f"Ray's sockets need a shorter path than {folder}"
            raise ClusterError(rule, remedy=REMEDIES["AF_UNIX"])
        folder = "/tmp"
    if not os.access(folder, os.W_OK):
        raise ClusterError(f"Ray cannot write in {folder}", remedy=REMEDIES["Read-only"])
    free = shutil.disk_usage(folder).free // MIB
    if free < LEAST_ROOM:
        raise ClusterError(
            f"Ray needs at least {LEAST_ROOM} MiB in {folder} for its sessions",
            got=free,
            remedy=remedy_for("No space left"),
        )


def is_too_long() -> bool:
    """Return whether sockets below the temporary folder would have paths that are too long."""
    return len(os.fsencode(temporary_folder())) + SESSION > LONGEST_SOCKET


def may_move() -> bool:
    """Return whether Ray's sessions may go to /tmp, because nobody has said where to put them."""
    return "RAY_TMPDIR" not in os.environ and os.access("/tmp", os.W_OK)


def is_writable_home() -> bool:
    """Return whether Ray can read or write its token in the user's home."""
    home = Path(os.path.expanduser("~"))
    ray = home / ".ray"
    return home.is_absolute() and os.access(ray if ray.exists() else home, os.W_OK)


def _has_user() -> bool:
    """Return whether the system knows a name for the user; containers run under bare numbers."""
    import pwd

    try:
        return bool(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return False
