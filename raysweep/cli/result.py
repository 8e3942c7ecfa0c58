"""Print a command's result, or write it to a file, in the same way in every command."""

from __future__ import annotations

from typing import Any


def wants_json(as_json: bool, out: str | None) -> bool:
    """Return whether a result is to be JSON: with --json, and in a file whose name says so."""
    return as_json or (out or "").endswith(".json")


def put(plain: Any, text: str, *, as_json: bool, out: str | None) -> None:
    """Print or write a result: ``plain`` values as one line of JSON, or ``text``.

    Raises:
        StoreError: the file ``out`` cannot be written.

    """
    if out is None and not as_json:
        print(text, end="")
        return
    from raysweep.report.output import as_json as to_json  # here, because it imports pandas
    from raysweep.report.output import write_output

    write_output(to_json(plain) if wants_json(as_json, out) else text, out)
