"""Temporary folders of a sweep. What a killed one left behind, the next one removes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

NAME = re.compile(r"raysweep-scratch-\w{8}")

LOCK, FILES = "lock", "files"


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield an empty temporary folder, which is removed at the end.

    The process holds a lock in it, which the system takes back when the process dies, however it
    does. So a folder whose lock is free is nobody's, also where containers share a /tmp.
    """
    _remove_abandoned()
    folder = tempfile.mkdtemp(prefix="raysweep-scratch-")
    fresh = Path(folder, f"{LOCK}.new")
    try:
        with fresh.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fresh.rename(Path(folder, LOCK))  # others see it only when it is held
            files = Path(folder, FILES)
            files.mkdir()
            yield str(files)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    """Remove the user's scratch folders whose locks nobody holds."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(entry)


def _remove_if_abandoned(entry: os.DirEntry[str]) -> None:
    """Remove a folder; raise OSError if it is another user's, or its lock is held or absent."""
    if entry.stat(follow_symlinks=False).st_uid != os.getuid():
        return
    lock = os.open(os.path.join(entry.path, LOCK), os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
