"""Print a command's result, or write it to a file, in the same way in every command."""

from __future__ import annotations

from typing import Any

from raysweep.config.plain_text import printable


def put(plain: Any, text: str, *, as_json: bool, out: str | None) -> None:
    """Print or write a result: ``plain`` values as one line of JSON, or ``text``.

    A file whose name ends in .json gets JSON, too.

    Raises:
        StoreError: the file ``out`` cannot be written.

    """
    if out is None and not as_json:
        print(printable(text, most=None), end="")
        return
    from raysweep.report.output import as_json as to_json  # here, because it imports pandas
    from raysweep.report.output import write_output

    is_json = as_json or (out or "").endswith(".json")
    write_output(to_json(plain) if is_json else text, out)
