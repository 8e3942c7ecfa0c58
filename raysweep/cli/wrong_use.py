"""Say what is wrong with a command line in the words of other errors."""

from __future__ import annotations

from typing import Any

import typer

WRONG_USE: Any = typer.BadParameter.__base__  # click's UsageError, which typer does not export

WORDS = {"Value error, ": "", "Input should be ": "must be ", "Invalid value for ": ""}
"""What click and pydantic write -> what stands in its place."""


def told(error: Any) -> str:
    """Return click's ``UsageError`` as one message; the help where a command has no arguments."""
    from raysweep.config.plain_text import printable  # here, because it imports pydantic

    text = error.format_message()
    if text.startswith("Usage:"):
        return str(text)
    for words, ours in WORDS.items():
        text = text.replace(words, ours)
    command = error.ctx.command_path if error.ctx else "raysweep"
    return f"error: {printable(text).rstrip('.')}; `{command} -h` says what it takes"
