"""A lock that lets one driver at a time write a results folder."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from raysweep.config.durations import duration
from raysweep.config.plain_text import one_line
from raysweep.errors import StoreBusy, StoreError
from raysweep.records.folder import SPACE
from raysweep.records.store import Store

FILE = "lock.json"

HEARTBEAT = 5.0  # seconds between two heartbeats

STALE = 60.0  # seconds after which a heartbeat no longer counts

LATEST = 2**33  # seconds: the year 2242

TRIES = 3  # how often a driver creates a lock that is there and then gone, as a broken link is

SETTLE = 0.5  # seconds after which a driver that started at the same time has written too


class Lock:
    """A file with the holder's name and a heartbeat, held while a sweep writes.

    The lock of a driver that was killed is taken over. ``say`` is called with a message if the
    check for that takes a while.

    Raises:
        StoreBusy: another driver holds the lock.

    """

    def __init__(self, store: Store, *, say: Callable[[str], object] = print) -> None:
        self._store, self._say = store, say
        self._holder = {
            "host": platform.node(),
            "machine": machine_id(),
            "pid": os.getpid(),
            "token": uuid.uuid4().hex,
            "since": time.time(),
        }
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._write_heartbeats, daemon=True)

    def __enter__(self) -> Lock:
        if not self._write():
            time.sleep(SETTLE)  # two drivers may have written at once: the last one has the lock
        self.check()
        self._thread.start()
        return self

    def _write(self) -> bool:
        """Write the lock; return whether no other driver can have done so at the same time."""
        folder = self._store.folder
        for _ in range(TRIES):
            try:
                return folder.create_bytes(self._content(), FILE)
            except FileExistsError:
                judged = self._refuse_if(self._is_alive)
            if folder.exists(FILE) and self._read() == judged:  # else its driver has just ended
                break
        folder.write_bytes(self._content(), FILE)
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._released.set()
        self._thread.join()
        with contextlib.suppress(StoreError):  # a folder that is gone holds no lock
            if self._is_ours(self._read()):
                self._store.folder.remove(FILE)

    def holder(self) -> str | None:
        """Return who holds the lock as text, None if nobody does. Nothing is written."""
        content = self._read()
        if content is None:
            return None
        age = max(0.0, time.time() - float(content["heartbeat"]))
        seen = "" if age <= STALE else f", last seen {duration(age)} ago: probably dead"
        return _in_use_by(content) + seen

    def check(self) -> None:
        """Raise :class:`StoreBusy` when another driver has taken the lock over."""
        self._refuse_if(lambda _content: True)

    def _refuse_if(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """Return the content of the lock.

        Raise :class:`StoreBusy` when another driver has it and ``condition`` holds.
        """
        content = self._read()
        if content is None or self._is_ours(content) or not condition(content):
            return content
        raise StoreBusy(
            f"{self._store.path} is {_in_use_by(content)}",
            remedy="wait for it, stop it, or choose another --out",
        )

    def _content(self) -> bytes:
        return json.dumps(self._holder | {"heartbeat": time.time()}).encode()

    def _is_ours(self, content: dict[str, Any] | None) -> bool:
        return content is not None and content["token"] == self._holder["token"]

    def _write_heartbeats(self) -> None:
        while not self._released.wait(HEARTBEAT):
            try:
                content = self._read()
                is_lost = content is None and self._store.folder.exists(SPACE)
                if self._is_ours(content) or is_lost:
                    self._store.folder.write_bytes(self._content(), FILE)
            except StoreError:
                continue  # the driver reports it when it writes the next record

    def _read(self) -> dict[str, Any] | None:
        """Return the content of the file; None if it does not exist or is incomplete."""
        try:
            content: dict[str, Any] = json.loads(self._store.folder.read_bytes(FILE))
            numbers = [content[name] for name in ("pid", "since", "heartbeat")]
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            return None
        is_complete = all(map(_is_time, numbers)) and {"host", "token"} <= set(content)
        return content if is_complete else None

    def _is_alive(self, content: dict[str, Any]) -> bool:
        """Return whether the holder still runs.

        On this machine, look for its process. On another machine, poll the heartbeat until it
        changes or a minute has passed since the last one. Clocks may differ, so an older heartbeat
        is also polled, for the time of two heartbeats.
        """
        age = max(0.0, time.time() - float(content["heartbeat"]))
        if content.get("machine") == self._holder["machine"]:
            # Only a recent heartbeat counts: the system may have given the number to another
            # process since.
            return age <= STALE and _is_running(int(content["pid"]))

        longest = max(2 * HEARTBEAT, STALE - age)
        self._say(
            f"{self._store.path} was {_in_use_by(content)}; "
            f"waiting at most {longest:.0f} s for its next heartbeat ..."
        )
        deadline = time.monotonic() + longest
        while time.monotonic() < deadline:
            time.sleep(HEARTBEAT / 10)
            latest = self._read()
            if latest is None or latest["heartbeat"] != content["heartbeat"]:
                return latest is not None
        return False


def _is_time(number: object) -> bool:
    """Return whether a value can be a time in seconds, or the number of a process."""
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and 0 <= number < LATEST  # type: ignore[operator]


def _in_use_by(content: dict[str, Any]) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(content["since"]))
    host = one_line(content["host"], most=80)
    return f"in use by process {int(content['pid'])} on {host} since {since}"


def machine_id() -> str:
    """Return a name of the place where process numbers are unique.

    That is this machine since it was started, or one container on it.
    """
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # outside Linux only the name is known
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
