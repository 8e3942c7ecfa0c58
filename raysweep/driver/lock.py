"""One writer a results folder: a file with the holder's name and a heartbeat."""

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

from raysweep.errors import StoreBusy, StoreError
from raysweep.records.folder import SPACE
from raysweep.records.store import Store

FILE = "lock.json"

BEAT = 5.0  # seconds

STALE = 60.0

SETTLE = 0.5


class Lock:
    """Held while a sweep writes; left behind by a killed driver, it is taken over.

    ``say`` takes a word when that needs a while.

    Raises:
        StoreBusy: another driver holds it and its heart beats.

    """

    def __init__(self, store: Store, *, say: Callable[[str], object] = print) -> None:
        self._store, self._say = store, say
        self._holder = {
            "host": platform.node(),
            "machine": _machine(),
            "pid": os.getpid(),
            "token": uuid.uuid4().hex,
            "since": time.time(),
        }
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Lock:
        if not self._store.folder.create_bytes(self._content(), FILE):
            self._refuse_if(self._is_alive)
            self._store.folder.write_bytes(self._content(), FILE)
        time.sleep(SETTLE)  # two may have written at once: the one that did so last has it
        self.check()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        with contextlib.suppress(StoreError):  # a folder that is gone holds no lock
            if self._is_own(self._read()):
                self._store.folder.remove(FILE)

    def check(self) -> None:
        """Raise :class:`StoreBusy` when another driver has taken the folder over."""
        self._refuse_if(lambda _held: True)

    def _refuse_if(self, matters: Callable[[dict[str, Any]], bool]) -> None:
        held = self._read()
        if held is None or self._is_own(held) or not matters(held):
            return
        remedy = "wait for it, stop it, or choose another --out"
        raise StoreBusy(f"{self._store.path} is {_holder(held)}; {remedy}")

    def _content(self) -> bytes:
        return json.dumps(self._holder | {"heartbeat": time.time()}).encode()

    def _is_own(self, held: dict[str, Any] | None) -> bool:
        return held is not None and held["token"] == self._holder["token"]

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            try:
                held = self._read()
                if self._is_own(held) or (held is None and self._store.folder.exists(SPACE)):
                    self._store.folder.write_bytes(self._content(), FILE)
            except StoreError:
                continue  # the driver meets the same folder at its next record, and says so

    def _read(self) -> dict[str, Any] | None:
        """Return who holds the folder; None when nobody does, or the file was torn by a kill."""
        try:
            held: dict[str, Any] = json.loads(self._store.folder.read_bytes(FILE))
            numbers = [int(held[name]) for name in ("pid", "since", "heartbeat")]
            return held if min(numbers) >= 0 and {"host", "token"} <= set(held) else None
        except (OSError, ValueError, TypeError, LookupError, OverflowError):
            return None

    def _is_alive(self, held: dict[str, Any]) -> bool:
        """Return whether the holder runs: by its process here, by its heart on other machines.

        A heart is watched until it beats, or until a minute has passed since it did. Clocks may
        differ, so even one that seems old is watched for two beats.
        """
        age = max(0.0, time.time() - float(held["heartbeat"]))
        if held.get("machine") == self._holder["machine"]:  # an old number may be another's now
            return age <= STALE and _is_running(int(held["pid"]))
        longest = max(2 * BEAT, STALE - age)
        self._say(
            f"{self._store.path} was {_holder(held)}; is it dead? At most {longest:.0f} s ..."
        )
        deadline = time.monotonic() + longest
        while time.monotonic() < deadline:
            time.sleep(BEAT / 10)
            now = self._read()
            if now is None or now["heartbeat"] != held["heartbeat"]:
                return now is not None
        return False


def _holder(held: dict[str, Any]) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(held["since"]))
    return f"in use by process {held['pid']} on {held['host']} since {since}"


def _machine() -> str:
    """Name where process numbers mean the same: this boot of this machine, or one container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # not on Linux: then the name has to do
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
