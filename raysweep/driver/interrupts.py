"""Ctrl-C and SIGTERM, and keeping Tune's own output out of the terminal."""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@contextlib.contextmanager
def _interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into an answer to "was it?"; the second one is sharp."""
    pressed = False

    def handler(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def swallowed(found: Any) -> None:
        """Press again, a moment later, where a finaliser was running: nothing leaves one."""
        if isinstance(found.exc_value, KeyboardInterrupt):
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            told(found)

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, handler) for number in signals]
    except ValueError:  # not in the main thread: then Ctrl-C is somebody else's
        yield lambda: False
        return
    told, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield lambda: pressed
    finally:
        sys.unraisablehook = told
        for number, old in zip(signals, before, strict=True):
            signal.signal(number, old)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep Tune's own words out of the terminal: the records hold every error."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
