"""Estimate how long a sweep still takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class TimeLeft:
    """An estimate from the trials that this run has finished.

    The start of the workers is not counted, for later trials do not start them again. The first
    trials say how long a trial works, and how many ran at once. When each worker has finished about
    three, the estimate is the time from one finished trial to the next. It is rough as long as some
    workers start while others finish trial after trial.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._finished_at: list[float] = []  # for each trial of this run
        self._seconds: list[float] = []  # of work, for each trial whose record states it
        self._at_once = 1  # the most trials that ran at the same time

    def note(self, rows: Sequence[Mapping[str, Any]], running: int) -> None:
        """Take in the records of all trials that this run has finished, and how many run."""
        self._at_once = max(self._at_once, running)
        for row in rows[len(self._finished_at) :]:
            self._finished_at.append(self._clock())
            worked = [row.get(key) for key in ("train_seconds", "attack_seconds")]
            seconds = sum(value for value in worked if value is not None and value == value)
            if seconds > 0:
                self._seconds.append(seconds)

    def seconds(self, n_missing: int) -> float | None:
        """Return the estimate for ``n_missing`` unfinished trials; None before the first one."""
        a_trial = self._seconds_a_trial()
        if a_trial is None:
            return None
        since_last = self._clock() - self._finished_at[-1]
        return max(0.0, n_missing * a_trial - min(since_last, a_trial))

    def _seconds_a_trial(self) -> float | None:
        """Return the time from one finished trial to the next."""
        n, warm = len(self._finished_at), self._at_once
        if n >= 3 * warm:
            return (self._finished_at[-1] - self._finished_at[warm - 1]) / (n - warm)
        if self._seconds:
            return sum(self._seconds) / len(self._seconds) / warm
        return None
