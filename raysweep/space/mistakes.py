"""Find every mistake in a space: note the first, take it out of the document, check again."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, TypeVar

from raysweep.config.yaml import Document, Path
from raysweep.errors import RaysweepError, SpaceError

T = TypeVar("T")

MOST = 50  # mistakes that one message names

LONGEST = 0.5  # seconds after which no other mistakes are looked for

STAND_INS: dict[str, Any] = {
    "name": "space",
    "dataset": {"name": "digits"},
    "model": {"name": "mlp"},
}
"""Valid values for the blocks that every space must have, to check the others without them."""

READERS = {"attacks": ("objectives", "pruning"), "objectives": ("pruning",)}
"""Block -> blocks whose rules depend on it: without the first, they may break rules that they do
not break with it."""


def check_whole(document: Document, value: dict[str, Any], check: Callable[[Any], T]) -> T:
    """Return ``check(value)``; raise one error that names every mistake otherwise.

    ``value`` is that of ``document`` with present names and overrides.

    Raises:
        SpaceError: each mistake with its line, in the order of the lines.

    """
    try:
        return check(value)
    except SpaceError as first:
        mistakes, are_all = _others(value, check, first)
    if len(mistakes) == 1:
        raise document.locate(mistakes[0])

    mistakes.sort(key=lambda mistake: document.line(mistake.place))
    lines = "".join(f"\n  - {document.locate(mistake)}" for mistake in mistakes)
    least = "" if are_all else "at least "
    raise SpaceError(f"{least}{len(mistakes)} mistakes in {document.name}:{lines}")


def _others(
    value: dict[str, Any], check: Callable[[Any], Any], first: SpaceError
) -> tuple[list[SpaceError], bool]:
    """Return ``first`` and the mistakes that remain when each is taken out, and if these are all.

    They are not where there are very many, where the checks take too long, and where a mistake
    cannot be taken out.
    """
    value, mistakes = copy.deepcopy(value), [first]
    removed: list[Path] = []
    mistake = first
    deadline = time.monotonic() + LONGEST
    while len(mistakes) < MOST and time.monotonic() < deadline:
        place = _remove(value, mistake.place)
        if place is None or (len(place) == 1 and place in removed):  # a stand-in is no remedy
            break
        removed.append(_written(place, removed))

        try:
            check(value)
        except SpaceError as error:
            mistake = error
            written = _at(error, _written(error.place, removed))
        except RaysweepError:
            break
        else:
            return mistakes, True
        if not _is_consequence(written.place, removed):
            mistakes.append(written)
    return mistakes, False


def _remove(value: dict[str, Any], place: Path) -> Path | None:
    """Take out what stands at ``place`` or at the nearest key above; return where that was."""
    for end in range(len(place), 0, -1):
        *above, last = place[:end]
        if end == 1 and last in STAND_INS:
            value[str(last)] = copy.deepcopy(STAND_INS[str(last)])
            return place[:end]

        inner: Any = value
        for part in above:
            inner = inner[part] if _holds(inner, part) else None
        if _holds(inner, last):
            del inner[last]
            return place[:end]
        if isinstance(inner, list) and isinstance(last, str) and last in inner:  # of names
            inner.remove(last)
            return place[:end]
    return None


def _written(place: Path, removed: list[Path]) -> Path:
    """Return where ``place`` stands in the text, in which lists still have the items ``removed``.

    >>> _written(("hidden", 0), [("hidden", 0), ("hidden", 2)])
    ('hidden', 1)
    """
    written: Path = ()
    for part in place:
        if isinstance(part, int):
            gone = [path[-1] for path in removed if path[:-1] == written]
            for index in sorted(index for index in gone if isinstance(index, int)):
                part += index <= part
        written = (*written, part)
    return written


def _at(error: SpaceError, place: Path) -> SpaceError:
    """Return the same error at ``place``, which its text names, too."""
    text = str(error)
    for start in range(len(place) - 1):
        old, new = (".".join(map(str, path[start:])) for path in (error.place, place))
        text = text.replace(f"`{old}`", f"`{new}`")
    return SpaceError(text, place=place)


def _holds(block: Any, part: str | int) -> bool:
    if isinstance(block, list):
        return isinstance(part, int) and part < len(block)
    return isinstance(block, dict) and part in block


def _is_consequence(place: Path, removed: list[Path]) -> bool:
    """Return whether a mistake at ``place`` may come from what was taken out."""
    for gone in removed:
        if gone[: len(place)] == place or place[0] in READERS.get(str(gone[0]), ()):
            return True
    return False
