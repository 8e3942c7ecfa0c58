"""Durations as text: 90s, 10m or 2h, and back."""

from __future__ import annotations

import re

from raysweep.errors import SpaceError

FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(text: str | float) -> float:
    """Return a duration such as 90, 90s, 10m or 2h in seconds; raise ValueError otherwise.

    >>> seconds("10m"), seconds(90)
    (600.0, 90.0)
    """
    match = FORM.fullmatch(str(text).strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"must be a duration above 0 such as 90s, 10m or 2h, got {text!r}")
    return float(match[1]) * UNITS[match[2]]


def option_seconds(text: str | None, option: str) -> float | None:
    """Return the duration that a command line's ``option`` has, in seconds; None without one.

    Raises:
        SpaceError: the text is not a duration.

    """
    try:
        return None if text is None else seconds(text)
    except ValueError as error:
        raise SpaceError(f"{option} {error}") from None


def duration(seconds: float) -> str:
    """Return seconds as text for people.

    >>> duration(75), duration(4000)
    ('1 min 15 s', '1 h 06 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
