"""Put a command's output where the user wants it: in the terminal, or in a file anywhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd

from raysweep.config import to_plain
from raysweep.config.plain_text import cell
from raysweep.errors import SpaceError, StoreError
from raysweep.records.folder import Folder
from raysweep.records.results import records


def write_output(content: str | bytes, out: str | None) -> None:
    """Print ``content``, or write it to the file ``out`` on any path that fsspec supports.

    Raises:
        StoreError: ``out`` is a folder, or cannot be written.

    """
    if out is None and isinstance(content, str):
        print(content, end="")
        return
    content = content.encode() if isinstance(content, str) else content
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return

    folder, name = _place(out)
    write_files(folder, {name: content}, f"the output cannot be written to {out}")


def check_output(out: str | None) -> None:
    """Raise :class:`StoreError` if a local file cannot be written, before there is what to write.

    It makes the folder.
    """
    if out is None or not _place(out)[0].is_local:
        return
    folder, name = _place(out)
    problem = f"the output cannot be written to {out}"
    if not name or os.path.isdir(out):
        raise StoreError(f"{problem} (Is a directory)", remedy="give another --out")
    write_files(folder, {}, problem)
    _refuse_special(folder, name, problem)
    if not os.access(folder.full(), os.W_OK):
        raise StoreError(f"{problem} (Permission denied)", remedy="give another --out")


def _refuse_special(folder: Folder, name: str, problem: str) -> None:
    """Refuse a device or a pipe, whose place a file would take.

    Raises:
        StoreError: ``name`` is there, and neither a file nor a folder.

    """
    if not folder.is_local:
        return
    path = folder.full(name)
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        remedy = "leave --out out, and redirect the output with >"
        raise StoreError(f"{problem} (it is a device or a pipe)", remedy=remedy)


def _place(out: str) -> tuple[Folder, str]:
    """Return the folder and the name of a file on any path."""
    parent, _, name = out.rpartition("/")
    return Folder(parent or ("/" if out.startswith("/") else ".")), name


def write_files(folder: Folder, files: Mapping[str, bytes], problem: str) -> None:
    """Write files, name -> content, into a folder that need not exist.

    Raises:
        StoreError: one cannot be written; the message begins with ``problem``.

    """
    for name in files:
        _refuse_special(folder, name, problem)
    try:
        if folder.is_local:
            os.makedirs(folder.full(), exist_ok=True)
        for name, content in files.items():
            folder.write_bytes(content, name)
    except (OSError, StoreError) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or cause
        raise StoreError(f"{problem} ({reason})", remedy="give another --out") from None


FORMS = ("csv", "json", "parquet")


def form_of(out: str | None, form: str) -> str:
    """Return ``form``, or the form that the suffix of the file ``out`` names for a table.

    Raises:
        SpaceError: the suffix names no form.

    """
    if out is None or form != "table":
        return form
    suffix = out.rpartition(".")[2]
    if suffix not in FORMS:
        raise SpaceError("--out takes a .csv, .json or .parquet file", got=out)
    return suffix


def as_json(value: Any) -> str:
    """Return plain values as one line of JSON, infinity as the text "inf"."""
    return json.dumps(to_plain(value)) + "\n"


def format_rows(rows: pd.DataFrame, form: str) -> str | bytes:
    """Return rows of a table as ``csv``, ``json`` or ``parquet``."""
    if form == "csv":
        return rows.map(cell).to_csv(index=False)
    if form == "json":
        return as_json(records(rows))
    return rows.to_parquet()
