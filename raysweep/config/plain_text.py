"""Text made fit for a terminal, a page and a table: that of strangers, and counts."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from typing import TextIO

LONGEST_LINE = 500  # characters of one line in a terminal

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Control and format characters, halves of characters, private ones, and breaks of lines."""


def printable(text: object, *, most: int | None = LONGEST_LINE) -> str:
    r"""Return text without characters that a terminal obeys, each line cut to ``most`` letters.

    Escape sequences could rename the window, write to the clipboard or hide what was printed.
    Breaks of lines and tabs stay.

    >>> printable("\x1b]0;owned\x07"), printable("a" * 9, most=4)
    ('?]0;owned?', 'aaa…')
    """
    lines = str(text).split("\n")
    seen = (line if line.isprintable() else "".join(map(_seen, line)) for line in lines)
    return "\n".join(_cut(line, most) for line in seen)


def one_line(text: object, *, most: int | None = LONGEST_LINE) -> str:
    """Return :func:`printable` text on one line."""
    return printable(" ".join(str(text).split()), most=most)


def _seen(character: str) -> str:
    is_unseen = character != "\t" and unicodedata.category(character) in _UNSEEN
    return "?" if is_unseen else character


def _cut(line: str, most: int | None) -> str:
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def broken(text: str, width: int) -> str:
    r"""Return text with its lines broken at spaces, none longer than ``width`` unless a word is.

    >>> broken("one two --three-four", 8)
    'one two\n--three-four'
    """
    whole_words = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(whole_words.fill, text.split("\n")))


def say(text: str, stream: TextIO | None = None) -> None:
    """Print sentences on stdout or another stream; a terminal has its lines broken at spaces.

    Other streams have a line whole, so that a program finds what it looks for.
    """
    stream = sys.stdout if stream is None else stream
    is_terminal = stream.isatty()
    print(broken(text, shutil.get_terminal_size().columns) if is_terminal else text, file=stream)


def counted(n: int, one: str, many: str = "") -> str:
    """Return a count with its noun, and the verb if it is given with the noun.

    >>> counted(1, "trial"), counted(0, "trial"), counted(1200, "class is", "classes are")
    ('1 trial', '0 trials', '1,200 classes are')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def message(error: BaseException) -> str:
    """Return what the command line says of an error."""
    reason = one_line(error) or type(error).__name__
    if isinstance(error, ImportError):
        remedy = "install it, or raysweep again, or give more memory (ulimit -v)"
        return f"Python cannot load what it needs ({reason}); {remedy}"
    if isinstance(error, MemoryError):
        remedy = "lower batch_size or the sizes of the splits, or give more memory (ulimit -v)"
        return f"there is not enough memory ({reason}); {remedy}"
    return printable(error)


def cell(value: object) -> object:
    """Return a value for a table of text (CSV), in which programs read some texts as formulas.

    >>> cell("=1+1"), cell("loss"), cell(-1.5)
    ("'=1+1", 'loss', -1.5)
    """
    if not isinstance(value, str):
        return value
    text = one_line(value, most=None)
    return f"'{text}" if text[:1] in tuple("=+-@") else text
