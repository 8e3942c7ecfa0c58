"""A user's own attacks and defences: classes that a space names as ``package.module:Class``."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from raysweep.config.registry import adapter, fields
from raysweep.config.user_errors import told
from raysweep.config.user_function import user_function
from raysweep.errors import ModelError, RaysweepError, SpaceError

_DEFENCE_KEY = re.compile(r"(?P<reference>[\w.]+:\w+)(\.(?P<field>\w+))?")

_ATTACKS = ("attacks.membership.", "attacks.inversion.")

_DEPTH = {"attacks": 2, "defences": 1, "search": 1, "scenarios": 2}
"""Block -> how many parts of a dotted key stand before the name of a class."""

_OF_AXES = ("low", "high", "log", "points", "values", "or")


def user_class(reference: str, kind: str, methods: Sequence[str]) -> type[Any]:
    """Import a dataclass that has ``methods``; ``kind`` says in errors what it should be.

    Raises:
        SpaceError: the module or the class is missing, or the class is no dataclass, has fields
            that pydantic cannot check, or lacks a method.

    """
    found: Any = user_function(reference, kind)
    check_dataclass(found, f"{kind} {reference!r}", methods)
    return found  # type: ignore[no-any-return]


def check_dataclass(found: Any, named: str, methods: Sequence[str]) -> None:
    """Raise :class:`SpaceError` unless ``found`` is a dataclass with ``methods``."""
    if not isinstance(found, type) or not dataclasses.is_dataclass(found):
        remedy = "decorate a class with @dataclass(frozen=True, kw_only=True)"
        raise SpaceError(f"{named} must be a dataclass", got=found, remedy=remedy)
    for method in methods:
        if not hasattr(found, method):
            rule = f"{named} must have `{method}`"
            raise SpaceError(rule, remedy="raysweep.testing says what a class must do")

    try:
        adapter(found)
    except Exception as error:
        raise SpaceError(f"{named}: pydantic cannot check its fields: {told(error)}") from error


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Name the attack or the defence in what its code raises, but for a lack of memory.

    Raises:
        ModelError: its code raised an error, or does not keep the contract.

    """
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    except (RaysweepError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit, which argparse raises
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
            raise
        raise ModelError(f"{name} raised {told(error)}") from error


def is_own_key(key: object) -> bool:
    """Return whether ``key`` is that of a user's own defence.

    >>> is_own_key("mine:Penalty"), is_own_key("pkg.mine:Penalty.scope"), is_own_key("dropout")
    (True, True, False)
    >>> is_own_key("attacks.membership.mine:Margin.runners_up")
    False
    """
    is_attack = isinstance(key, str) and key.startswith(_ATTACKS)
    return isinstance(key, str) and not is_attack and bool(_DEFENCE_KEY.fullmatch(key))


def reference_of(key: str) -> str:
    """Return the class that a key of an own defence belongs to.

    >>> reference_of("pkg.mine:Penalty.scope")
    'pkg.mine:Penalty'
    """
    match = _DEFENCE_KEY.fullmatch(key)
    assert match is not None, key
    return match["reference"]


def keys_of(reference: str, kind: type[Any]) -> dict[str, str]:
    """Return key in a space -> field, for every field of an own defence.

    The first field is the strength, and its key is the name of the class alone.
    """
    first, *others = fields(kind)
    return {reference: first, **{f"{reference}.{field}": field for field in others}}


def split_key(key: str) -> list[str]:
    """Return the parts of a dotted key. The dots in the name of an own class are no separators.

    >>> split_key("training.epochs"), split_key("search.pkg.mine:Penalty.scope.low")
    (['training', 'epochs'], ['search', 'pkg.mine:Penalty.scope', 'low'])
    >>> split_key("attacks.membership.pkg.mine:Margin.runners_up")
    ['attacks', 'membership', 'pkg.mine:Margin', 'runners_up']
    """
    block = key.partition(".")[0]
    *before, rest = key.split(".", _DEPTH.get(block, 0))
    match = re.match(r"[\w.]+:\w+", rest)
    if match is None:
        return key.split(".")

    name, after = match[0], [part for part in rest[match.end() :].split(".") if part]
    is_field = block != "attacks" and after and not (block == "search" and after[0] in _OF_AXES)
    n_fields = 1 if is_field else 0
    return [*before, ".".join([name, *after[:n_fields]]), *after[n_fields:]]
