"""Write finished trials, and wait for a results folder that is full, read-only or gone."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable

from raysweep.config.durations import duration
from raysweep.driver.lock import Lock
from raysweep.driver.proposals import Proposals
from raysweep.errors import StoreBusy, StoreError
from raysweep.records import compaction
from raysweep.records.results import Results
from raysweep.records.standing import Standing
from raysweep.records.store import Store
from raysweep.records.tables import Packed

PAUSE = 0.5  # seconds between attempts to write

MESSAGE_INTERVAL = 15.0  # seconds between messages


def write_front(store: Store) -> Standing:
    """Write the front beside the records, and return it with what could be told apart."""
    standing = Results(store.path).standing()
    buffer = io.BytesIO()
    standing.front.to_parquet(buffer)
    store.folder.write_bytes(buffer.getvalue(), "front.parquet")
    return standing


class Recorder:
    """Writes each finished trial, then lets the proposals learn from it.

    ``patience`` is the number of seconds to wait for a folder that takes no records.
    ``n_small_files`` is the number of trials that have a file each. ``error`` is the error that
    ends the sweep, or None.
    """

    def __init__(
        self,
        store: Store,
        lock: Lock,
        proposals: Proposals,
        *,
        patience: float,
        n_small_files: int,
    ) -> None:
        self._store, self._lock, self._proposals = store, lock, proposals
        self._patience = patience
        self._n_small_files = n_small_files
        self.error: StoreError | None = None

    def record(
        self, packed: Packed, *, should_stop: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        """Write a trial; keep the error when the folder takes no record for too long."""
        if self.error is not None:
            return

        def write() -> None:
            self._lock.check()
            self._store.folder.require()
            self._store.write(packed, before_row=self._lock.check)

        try:
            retry_write(write, patience=self._patience, should_stop=should_stop, say=say)
        except StoreError as error:
            self.error = error
            return

        self._proposals.learn(packed.trial.row())
        self._merge_small_files()

    def _merge_small_files(self) -> None:
        """Count a file; merge the files of single trials when there are many."""
        self._n_small_files += 1
        if self._n_small_files >= compaction.TOGETHER:
            self._n_small_files = 0
            with contextlib.suppress(StoreError):  # nothing is lost: there are only more files
                compaction.compact(self._store)


def retry_write(
    write: Callable[[], None],
    *,
    patience: float,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Call ``write`` until it succeeds, for ``patience`` seconds or until ``should_stop``.

    Raises:
        StoreBusy: another driver has the folder; this is not retried.
        StoreError: the folder still takes no records.

    """
    began, last_message = time.monotonic(), -MESSAGE_INTERVAL
    while True:
        try:
            return write()
        except StoreBusy:
            raise
        except StoreError as error:
            waited = time.monotonic() - began
            if waited >= patience or should_stop():
                raise
            if waited - last_message >= MESSAGE_INTERVAL:
                last_message = waited
                say(f"{error}\nwaiting for it another {duration(patience - waited)}")
        time.sleep(PAUSE)
