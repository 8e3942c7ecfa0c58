"""The public interface: the names in ``raysweep.__all__``, the version and the two ways to start."""

import ast
import inspect
import subprocess
import sys
import tomllib
import typing
from importlib import import_module
from pathlib import Path

import pytest

import raysweep
from raysweep import errors

ROOT = Path(__file__).parent.parent
FUNCTIONS = ("load", "load_model", "load_space", "run_trial", "save_model", "sweep")


def python(*args):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=True)


def test_every_public_name_is_defined_in_the_module_that_the_table_names():
    for name in set(raysweep.__all__) - {"__version__"}:
        module = raysweep._MODULES.get(name, "raysweep.errors")
        assert getattr(raysweep, name) is getattr(import_module(module), name)
        assert getattr(raysweep, name).__module__ == module, f"{name} is only imported there"


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(raysweep.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name for node in block.body[:-1] for alias in node.names}
    assert names | {"__version__"} == set(raysweep.__all__)


def test_the_table_lists_public_names_only():
    assert set(raysweep._MODULES) <= set(raysweep.__all__)
    assert list(raysweep.__all__) == sorted(raysweep.__all__)
    assert set(raysweep.__all__) <= set(dir(raysweep))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_type_that_a_public_function_takes_or_returns_is_public(name):
    function = getattr(raysweep, name)
    namespace = {**vars(sys.modules[function.__module__]), **vars(raysweep)}
    namespace |= {public: getattr(raysweep, public) for public in raysweep.__all__}
    hints = typing.get_type_hints(function, globalns=namespace)
    used = {part for hint in hints.values() for part in flattened(hint)}
    own = {
        part.__name__
        for part in used
        if part.__module__.startswith("raysweep") and not is_protocol(part)
    }
    assert own <= set(raysweep.__all__)


def is_protocol(kind):
    """Return whether ``kind`` is a protocol: a caller writes such a function and needs no import."""
    return getattr(kind, "_is_protocol", False)


def flattened(hint):
    """Yield the classes inside a type such as ``Callable[[Rung], bool] | None``."""
    if isinstance(hint, list | tuple):
        for part in hint:
            yield from flattened(part)
    elif isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    else:
        yield from flattened(typing.get_args(hint))


def test_every_error_is_public():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    names = {kind.__name__ for kind in kinds if issubclass(kind, errors.RaysweepError)}
    assert names <= set(raysweep.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'raysweep' has no attribute 'sweeep'"):
        raysweep.sweeep  # noqa: B018


@pytest.mark.parametrize("command", ["import raysweep", "raysweep --help", "raysweep --version"])
def test_no_heavy_library_is_imported_before_it_is_used(command):
    arguments = command.split()
    code = f"import sys; sys.argv = {arguments}\nimport raysweep\n"
    if arguments[0] == "raysweep":
        code += "from raysweep.cli import app\ntry: app()\nexcept SystemExit as end: assert not end.code\n"
    code += "heavy = {'torch', 'ray', 'pandas', 'optuna', 'pyarrow'} & set(sys.modules)\n"
    code += "assert not heavy, heavy"
    python("-c", code)


def test_the_version_is_that_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert raysweep.__version__ == project["version"]


def test_python_dash_m_and_the_script_print_the_version():
    script = Path(sys.executable).parent / "raysweep"
    printed = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert python("-m", "raysweep", "--version").stdout == printed.stdout
    assert printed.stdout == f"raysweep {raysweep.__version__}\n"
