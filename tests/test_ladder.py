"""The layers of raysweep: which package may import which, and where each library is imported."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "raysweep"

FLOORS = [
    ["errors"],
    ["config"],
    ["data", "models"],
    ["training"],
    ["defences", "attacks"],
    ["records"],
    ["space", "trial", "report"],
    ["driver", "testing"],
    ["cli"],
]

OUTSIDE = ("raysweep", "__main__")  # the public names and `python -m raysweep`, above all floors

IMPORTED_IN = {
    "ray": {"driver"},
    "optuna": {"driver"},
    "optuna_dashboard": {"driver"},
    "dp_accounting": {"defences.dpsgd"},
    "torchvision": {"data"},
    "sklearn": {"data"},
    "pyarrow": {"records"},
    "safetensors": {"trial"},
    "seaborn": {"report"},
    "matplotlib": {"report"},
}

NO_TORCH_AT_IMPORT = [
    "space.parsing",
    "cli",
    "records.store",
    "report.build",
    "data",
    "models",
    "defences",
    "attacks",
]


@functools.cache
def modules():
    """Return module name -> file, without the leading ``raysweep.``."""
    paths = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        paths[name or "raysweep"] = path
    return paths


def floor(name):
    package = name.partition(".")[0]
    for number, packages in enumerate(FLOORS):
        if package in packages:
            return number
    raise AssertionError(f"add {package} to FLOORS")


@functools.cache
def imports(path, *, top_level_only=False):
    """Return the dotted names that a file imports, leaving out `if TYPE_CHECKING` blocks."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    names = []
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def own_module(name):
    """Return the raysweep module that a dotted import reaches, or None."""
    if not name.startswith("raysweep."):
        return None
    inner = name.removeprefix("raysweep.")
    return inner if inner in modules() else inner.rpartition(".")[0]


@pytest.mark.parametrize(("name", "path"), list(modules().items()), ids=lambda value: str(value))
def test_a_module_imports_only_from_floors_below(name, path):
    if name in OUTSIDE:
        return
    for imported in imports(path):
        below = own_module(imported)
        if below and below.partition(".")[0] != name.partition(".")[0]:
            assert floor(below) < floor(name), f"{name} imports {below}"


def test_no_files_import_each_other_in_a_circle():
    paths, state = modules(), {}

    def visit(name, trail):
        assert state.get(name) != "open", f"a circle: {' -> '.join([*trail, name])}"
        if name in state:
            return
        state[name] = "open"
        for below in filter(None, map(own_module, imports(paths[name]))):
            if below != name and below in paths:
                visit(below, [*trail, name])
        state[name] = "done"

    for name in paths:
        visit(name, [])


@pytest.mark.parametrize(("library", "packages"), list(IMPORTED_IN.items()), ids=list(IMPORTED_IN))
def test_each_heavy_library_is_imported_in_one_package(library, packages):
    users = {
        name
        for name, path in modules().items()
        if any(i.split(".")[0] == library for i in imports(path))
    }
    for user in users:
        assert any(f"{user}.".startswith(f"{package}.") for package in packages), user
    assert users, f"no module imports {library}: take it off the table"


@pytest.mark.parametrize("name", NO_TORCH_AT_IMPORT)
def test_validating_a_space_imports_no_torch(name):
    seen, waiting = set(), [name]
    paths = modules()
    while waiting:
        module = waiting.pop()
        for imported in imports(paths[module], top_level_only=True):
            assert imported.split(".")[0] not in (
                "torch",
                "ray",
                "optuna",
                "opacus",
                "dp_accounting",
            ), module
            below = own_module(imported)
            if below and below not in seen:
                seen.add(below)
                waiting.append(below)


def test_the_floors_list_every_package_and_no_other():
    packages = {name.partition(".")[0] for name in modules()} - {*OUTSIDE}
    assert packages == {package for floor in FLOORS for package in floor}
