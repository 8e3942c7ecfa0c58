"""One writer a results folder: a file with the holder's name and a heartbeat."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from types import TracebackType
from typing import Any

from raysweep.errors import StoreBusy, StoreError
from raysweep.store import Store

FILE = "lock.json"
BEAT = 5.0  # seconds
STALE = 60.0


class Lock:
    """Held while a sweep writes; left behind by a killed driver, it is taken over.

    Raises:
        StoreBusy: another driver holds it and its heart beats.

    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._holder = {"host": platform.node(), "pid": os.getpid(), "since": time.time()}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Lock:
        other = self._other()
        if other is not None:
            since = time.strftime("%H:%M:%S", time.localtime(other["since"]))
            who = f"process {other['pid']} on {other['host']} since {since}"
            remedy = "wait for it, stop it, or choose another --out"
            raise StoreBusy(f"{self._store.path} is in use by {who}; {remedy}")
        self._write()
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
        try:
            self._store.remove(FILE)
        except OSError:
            return  # the folder is gone; so is the lock

    def _write(self) -> None:
        content = self._holder | {"heartbeat": time.time()}
        self._store.write_bytes(json.dumps(content).encode(), FILE)

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            try:
                self._write()
            except StoreError:
                continue  # the driver meets the same folder at its next record, and says so

    def _other(self) -> dict[str, Any] | None:
        """Return the holder when it is another one and alive."""
        try:
            held: dict[str, Any] = json.loads(self._store.read_bytes(FILE))
            age = time.time() - float(held["heartbeat"])
            here = held["host"] == platform.node()
            alive = _is_running(int(held["pid"])) if here else age < STALE
            return held if alive and int(held["pid"]) != os.getpid() else None
        except OSError:
            return None  # there is none, or no folder to hold one: writing ours will tell
        except (ValueError, KeyError, TypeError):
            return None  # torn by a kill in the very first write


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
