"""Catalogues of names: look one up, build the object it names, import a user's own function."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import pydantic

from raysweep.errors import SpaceError

T = TypeVar("T")


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? Known: a, b"`` for a name that is not among ``names``.

    >>> suggestion("digts", ["digits", "mnist"])
    "; did you mean 'digits'? Known: digits, mnist"
    """
    valid = sorted(names)
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"; {hint}Known: {', '.join(valid)}"


def lookup(catalogue: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``catalogue[name]``; raise :class:`SpaceError` that lists the names otherwise."""
    if name in catalogue:
        return catalogue[name]
    raise SpaceError(f"unknown {kind} {name!r}{suggestion(str(name), catalogue)}")


def is_reference(name: object) -> bool:
    """Return whether ``name`` has the form ``package.module:function``."""
    return isinstance(name, str) and ":" in name


def build(kind: type[T], parameters: Mapping[str, Any]) -> T:
    """Return ``kind(**parameters)``, a pydantic dataclass.

    Raises:
        SpaceError: an unknown key, or a value that breaks a rule, placed at its key.

    """
    valid = fields(kind)
    for key in parameters:
        if key not in valid:
            raise SpaceError(f"unknown key {key!r}{suggestion(str(key), valid)}", place=[key])
    try:
        return kind(**parameters)
    except pydantic.ValidationError as error:
        raise explain(error) from None


def fields(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass."""
    names: tuple[str, ...] = _fields(kind)  # type: ignore[arg-type]
    return names


@functools.cache
def _fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def explain(error: pydantic.ValidationError) -> SpaceError:
    """Return the first rule that ``error`` reports, with its place and the value that broke it."""
    first = error.errors(include_url=False)[0]
    path = [str(part) if not isinstance(part, int) else part for part in first["loc"]]
    rule = first["msg"].removeprefix("Value error, ")

    if first["type"] == "missing":
        return SpaceError(f"`{path[-1]}` is required", place=path)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return SpaceError(f"unknown key {path[-1]!r}", place=path)
    if first["type"] == "value_error":
        return SpaceError(rule, place=path)

    name = ".".join(str(part) for part in path)
    return SpaceError(f"`{name}`: {rule[0].lower()}{rule[1:]}, got {first['input']!r}", place=path)


def user_function(reference: str, kind: str) -> Callable[..., Any]:
    """Import ``package.module:function`` from the working directory or the Python path.

    Raises:
        SpaceError: the module is missing or not the user's own, raises while it is imported, or has
            no such function.

    """
    module_name, _, function_name = reference.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    _refuse_foreign(module_name, f"{kind} {reference!r}")

    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SpaceError(
            f"{kind} {reference!r}: no module named {error.name!r}",
            remedy="run from the folder that holds it, or put it on PYTHONPATH",
        ) from None
    except Exception as error:
        raise SpaceError(
            f"{kind} {reference!r}: importing {module_name} raised {type(error).__name__}: {error}"
        ) from error

    function = getattr(module, function_name, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        hint = suggestion(function_name, names)
        raise SpaceError(f"{kind} {reference!r}: {module_name} has no such function{hint}")
    return function  # type: ignore[no-any-return]


def _refuse_foreign(module_name: str, what: str) -> None:
    """Raise :class:`SpaceError` for Python's own modules and installed packages.

    A space may come from a stranger: `subprocess:run` with parameters would run a command.
    """
    top = module_name.partition(".")[0]
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)

    folders = (*map(sysconfig.get_path, ("purelib", "platlib")), "site-packages", "dist-packages")
    origins = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    is_installed = any(folder in str(origin) for folder in folders for origin in origins)
    is_raysweep = top == __name__.partition(".")[0]
    if top in sys.stdlib_module_names or is_raysweep or is_installed:
        raise SpaceError(
            f"{what}: {top} is not a module of your own",
            remedy="write a function of your own that calls it",
        )
