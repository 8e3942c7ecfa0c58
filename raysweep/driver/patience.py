"""A results folder that is full, read-only or gone may come back: wait for it, and say so."""

from __future__ import annotations

import time
from collections.abc import Callable

from raysweep.config.durations import duration
from raysweep.errors import StoreBusy, StoreError

PAUSE = 0.5  # seconds between attempts

QUIET = 15.0  # seconds between words


def patiently(
    act: Callable[[], None],
    *,
    patience: float,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Call ``act`` until it writes, for ``patience`` seconds or until ``should_stop``.

    Raises:
        StoreBusy: another driver has the folder; at once.
        StoreError: the folder still takes no records.

    """
    began, spoke = time.monotonic(), -QUIET
    while True:
        try:
            return act()
        except StoreBusy:
            raise
        except StoreError as error:
            waited = time.monotonic() - began
            if waited >= patience or should_stop():
                raise
            if waited - spoke >= QUIET:
                spoke = waited
                say(f"{error}\nwaiting for it another {duration(patience - waited)}")
            time.sleep(PAUSE)
