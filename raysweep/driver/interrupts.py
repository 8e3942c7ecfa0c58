"""Catch Ctrl-C and SIGTERM, and keep Tune's output out of the terminal."""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def catch_interrupts() -> Iterator[Callable[[], bool]]:
    """Catch the first Ctrl-C or SIGTERM; the second raises :class:`KeyboardInterrupt`.

    Yields a function that returns whether the first one came. Outside the main thread signals
    cannot be caught, and it always returns False.
    """
    is_interrupted = False

    def handle(_number: int, _frame: object) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            raise KeyboardInterrupt
        is_interrupted = True

    try:
        handlers_before = [signal.signal(number, handle) for number in SIGNALS]
    except ValueError:  # not in the main thread
        yield lambda: False
        return

    try:
        with _reraise_in_main_thread():
            yield lambda: is_interrupted
    finally:
        for number, handler in zip(SIGNALS, handlers_before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _reraise_in_main_thread() -> Iterator[None]:
    """Raise a KeyboardInterrupt again, a moment later, if it was raised in a finaliser.

    Python prints and then drops every exception that a finaliser raises.
    """
    hook_before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            hook_before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = hook_before


@contextlib.contextmanager
def silence_tune() -> Iterator[None]:
    """Keep the output of Tune and Ray out of the terminal: the records hold every error."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)

    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
