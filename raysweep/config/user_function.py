"""Import a user's own function, which a space names as ``package.module:function``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

from raysweep.config.registry import suggestion
from raysweep.config.user_errors import told
from raysweep.errors import SpaceError

MODULES = "RAYSWEEP_MODULES"
"""The environment variable in which a driver names folders with a user's modules to workers."""


def is_reference(name: object) -> bool:
    """Return whether ``name`` has the form ``package.module:function``."""
    return isinstance(name, str) and ":" in name


def user_function(reference: str, kind: str) -> Callable[..., Any]:
    """Import ``package.module:function`` from the working directory or the Python path.

    Raises:
        SpaceError: the module is missing or not the user's own, raises while it is imported, or has
            no such function.

    """
    module_name, _, function_name = reference.partition(":")
    _add_user_folders()
    _refuse_foreign(module_name, f"{kind} {reference!r}")

    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SpaceError(
            f"{kind} {reference!r}: no module named {error.name!r}",
            remedy="run from the folder that holds it, or put it on PYTHONPATH",
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, which argparse raises
        what = f"{kind} {reference!r}: importing {module_name} raised {told(error)}"
        remedy = "write what is not a definition below `if __name__ == '__main__':`"
        raise SpaceError(what, remedy=remedy if isinstance(error, SystemExit) else "") from error

    function = getattr(module, function_name, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        hint = suggestion(function_name, names)
        raise SpaceError(f"{kind} {reference!r}: {module_name} has no such function{hint}")
    return function  # type: ignore[no-any-return]


def user_folders() -> list[str]:
    """Return the folders in which a user's own modules are looked for, besides PYTHONPATH.

    They are the working folder and those that the driver of a sweep names to its workers.
    """
    named = os.environ.get(MODULES, "").split(os.pathsep)
    with contextlib.suppress(FileNotFoundError):  # it was removed under a running worker
        return list(
            dict.fromkeys([os.getcwd(), *(os.path.abspath(name) for name in named if name)])
        )
    return [name for name in named if os.path.isabs(name)]


def _add_user_folders() -> None:
    """Let Python look for modules in the user's folders too, but after all others.

    A file of the user's may have the name of a library, and the library must be found.
    """
    sys.path.extend(folder for folder in user_folders() if folder not in sys.path)


def _refuse_foreign(module_name: str, reference: str) -> None:
    """Raise :class:`SpaceError` for Python's own modules and installed packages.

    A space may come from somebody else, and `subprocess:run` with parameters would run a command.
    """
    package = module_name.partition(".")[0]
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)

    folders = (*map(sysconfig.get_path, ("purelib", "platlib")), "site-packages", "dist-packages")
    origins = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    is_installed = any(folder in str(origin) for folder in folders for origin in origins)
    is_raysweep = package == __name__.partition(".")[0]
    if package in sys.stdlib_module_names or is_raysweep or is_installed:
        mine = [f for f in user_folders() if os.path.exists(os.path.join(f, f"{package}.py"))]
        remedy = "write a function of your own that calls it"
        if mine:
            remedy = f"give {package}.py in {mine[0]} a name that no installed package has"
        raise SpaceError(f"{reference}: {package} is not a module of your own", remedy=remedy)
