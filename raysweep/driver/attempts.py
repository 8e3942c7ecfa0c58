"""The reasons why attempts at a trial failed, one line each, from Ray's error files."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

from ray.tune.experiment import Trial

from raysweep.errors import MachineFailure

MEMORY = re.compile(
    r"OutOfMemory|out of memory|running low on memory|memory usage threshold", re.IGNORECASE
)

ADVICE = "Refer to the documentation"  # Ray's line after "running low on memory"

OWN_KIND = f"{MachineFailure.__module__}.{MachineFailure.__name__}: "  # says no more than "failed"

LONGEST_REASON = 500  # characters

ATTEMPT = re.compile(r"^Failure # \d+ .*$", re.MULTILINE)  # Tune's line before each failure


def lacks_memory(failure: str) -> bool:
    """Return whether an attempt failed because memory ran out."""
    return MEMORY.search(failure) is not None


class Attempts:
    """The start of each running trial's attempt, and the reasons why earlier ones failed."""

    def __init__(self, time_limit: float | None) -> None:
        self._time_limit = time_limit
        self._began: dict[str, float] = {}
        self._failures: dict[str, list[str]] = {}

    def begin(self, trial: Trial) -> None:
        """Note that an attempt begins now."""
        self._began[trial.trial_id] = time.monotonic()

    def fail(self, trial: Trial) -> list[str]:
        """Note why the current attempt failed; return the reasons of all, oldest first."""
        failures = self._failures.setdefault(trial.trial_id, [])
        failures.append(self._reason(trial))
        return failures

    def end(self, trial: Trial) -> list[str]:
        """Forget a trial; return why its attempts failed, oldest first."""
        self._began.pop(trial.trial_id, None)
        return self._failures.pop(trial.trial_id, [])

    def _reason(self, trial: Trial) -> str:
        """Return why the current attempt failed."""
        began = self._began.get(trial.trial_id, time.monotonic())
        if self._time_limit is not None and time.monotonic() - began >= self._time_limit:
            return f"it ran longer than its time limit of {self._time_limit:g} s"

        text = ""
        with contextlib.suppress(OSError, TypeError):  # there may be no error file
            text = Path(trial.error_file).read_text(encoding="utf-8")
        return reason(text)


def reason(text: str) -> str:
    r"""Return the most telling line of the last failure in ``text``, a trial's error file.

    >>> reason("Failure # 1 (now)\nlast words\nFailure # 2 (now)\nThe worker died.\nNode: x")
    'The worker died.'
    >>> reason("Failure # 1 (now)\nraysweep.errors.MachineFailure: OSError: the disk is full")
    'OSError: the disk is full'
    """
    lines = [line.strip() for line in ATTEMPT.split(text)[-1].splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(ADVICE)]

    memory = [line for line in lines if lacks_memory(line)]
    died = [line for line in lines if "died" in line or "Died" in line]
    telling = (memory[-1:] or died[:1] or lines[-1:] or ["unknown"])[0]
    return telling.removeprefix(OWN_KIND)[:LONGEST_REASON]
