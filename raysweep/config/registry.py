"""Look a name up in a catalogue, and build the object that it names."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from raysweep.config.plain_text import counted
from raysweep.errors import SpaceError

T = TypeVar("T")

MOST_KNOWN = 24  # names in a message, which also has to say where the mistake is


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? Known: a, b"`` for a name that is not among ``names``.

    >>> suggestion("digts", ["digits", "mnist"])
    "; did you mean 'digits'? Known: digits, mnist"
    """
    valid = sorted(names)
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    more = ", ..." if len(valid) > MOST_KNOWN else ""
    return f"; {hint}Known: {', '.join(valid[:MOST_KNOWN])}{more}"


def lookup(catalogue: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``catalogue[name]``; raise :class:`SpaceError` that lists the names otherwise."""
    if name in catalogue:
        return catalogue[name]
    raise SpaceError(f"unknown {kind} {name!r}{suggestion(str(name), catalogue)}")


def build(kind: type[T], parameters: Mapping[str, Any]) -> T:
    """Return ``kind(**parameters)`` of a dataclass, its fields checked by pydantic.

    Raises:
        SpaceError: an unknown key, or a value that breaks a rule, placed at its key.

    """
    check_keys(parameters, fields(kind))
    try:
        return adapter(kind).validate_python(dict(parameters))
    except pydantic.ValidationError as error:
        raise explain(error) from None


def check_keys(given: Iterable[str], valid: Sequence[str]) -> None:
    """Raise :class:`SpaceError` for the first of the ``given`` keys that is not ``valid``."""
    for key in given:
        if key not in valid:
            raise SpaceError(f"unknown key {key!r}{suggestion(str(key), valid)}", place=[key])


def adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    """Return what checks the fields of a dataclass, one of Python's own included."""
    found: pydantic.TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]
    return found


@functools.cache
def _adapter(kind: type[Any]) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


def fields(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass."""
    names: tuple[str, ...] = _fields(kind)  # type: ignore[arg-type]
    return names


@functools.cache
def _fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


KINDS = {
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid dictionary": "a mapping",
    "a valid string": "a text",
    "a valid boolean": "true or false",
    "a valid integer": "a whole number",
    "a valid number": "a number",
}
"""What pydantic calls a type in Python -> what YAML calls it."""


def _kind(rule: str) -> str:
    """Return what pydantic says a value should be, in words of YAML.

    >>> _kind("a valid integer, unable to parse string as an integer"), _kind("greater than 0")
    ('a whole number', 'greater than 0')
    """
    if rule.startswith("a dictionary or an instance of "):
        return "a mapping"
    return KINDS.get(rule.partition(", ")[0], rule)


def explain(error: pydantic.ValidationError) -> SpaceError:
    """Return the first rule that ``error`` reports, with its place and the value that broke it."""
    first = error.errors(include_url=False)[0]
    path = [str(part) if not isinstance(part, int) else part for part in first["loc"]]
    rule = first["msg"].removeprefix("Value error, ")
    if len(path) > 1 and path[-1] in ("int", "float"):  # pydantic's names for one of two types
        path, rule = path[:-1], "Input should be a valid number"
    if len(path) > 1 and path[-1] == "constrained-int":
        path = path[:-1]

    if first["type"] == "missing":
        if isinstance(path[-1], int):  # a list of fixed length
            listed = ".".join(map(str, path[:-1]))
            return SpaceError(f"`{listed}` has too few values", got=first["input"], place=path[:-1])
        return SpaceError(f"`{path[-1]}` is required", place=path)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return SpaceError(f"unknown key {path[-1]!r}", place=path)
    if first["type"] == "value_error":
        return SpaceError(rule, place=path)

    name = ".".join(str(part) for part in path)
    must = f"`{name}`: {rule[0].lower()}{rule[1:]}"
    if first["type"] == "too_short":
        must = f"`{name}` must have at least {counted(first['ctx']['min_length'], 'value')}"
    if rule.startswith("Input should be "):
        must = f"`{name}` must be {_kind(rule[16:])}"
    return SpaceError(must, got=first["input"], place=path)
