"""The ladder: a module imports only from floors below its own; each heavy library has one door."""

import ast
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
    ["driver"],
    ["cli"],
    ["__main__"],
]

DOORS = {
    "ray": {"driver"},
    "optuna": {"driver"},
    "optuna_dashboard": {"driver"},
    "opacus": {"defences.dpsgd"},
    "torchvision": {"data"},
    "sklearn": {"data"},
    "pyarrow": {"records"},
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


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name or "raysweep", path


def floor(name):
    room = name.partition(".")[0]
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} stands on no floor: add it to FLOORS")


def imports(path, *, top_level_only=False):
    """Yield the dotted names that a file imports, leaving out `if TYPE_CHECKING` blocks."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(name):
    """Return the raysweep module that a dotted import reaches, or None."""
    if not name.startswith("raysweep."):
        return None
    known = dict(modules())
    inner = name.removeprefix("raysweep.")
    return inner if inner in known else inner.rpartition(".")[0]


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: str(value))
def test_a_module_imports_only_from_floors_below(name, path):
    if name == "raysweep":
        return
    for imported in imports(path):
        below = own(imported)
        if below and below.partition(".")[0] != name.partition(".")[0]:
            assert floor(below) < floor(name), f"{name} imports {below}"


def test_no_files_import_each_other_in_a_circle():
    known, state = dict(modules()), {}

    def visit(name, trail):
        assert state.get(name) != "open", f"a circle: {' -> '.join([*trail, name])}"
        if name in state:
            return
        state[name] = "open"
        for below in filter(None, map(own, imports(known[name]))):
            if below != name and below in known:
                visit(below, [*trail, name])
        state[name] = "done"

    for name in known:
        visit(name, [])


@pytest.mark.parametrize(("library", "doors"), list(DOORS.items()), ids=list(DOORS))
def test_each_heavy_library_has_one_door(library, doors):
    users = {
        name for name, path in modules() if any(i.split(".")[0] == library for i in imports(path))
    }
    assert all(any(f"{user}.".startswith(f"{door}.") for door in doors) for user in users), users
    assert users, f"nobody uses {library}"


@pytest.mark.parametrize("name", NO_TORCH_AT_IMPORT)
def test_what_validates_does_not_import_torch(name):
    seen, waiting = set(), [name]
    known = dict(modules())
    while waiting:
        module = waiting.pop()
        for imported in imports(known[module], top_level_only=True):
            assert imported.split(".")[0] not in ("torch", "ray", "optuna", "opacus"), module
            below = own(imported)
            if below and below not in seen:
                seen.add(below)
                waiting.append(below)


def test_every_floor_names_rooms_that_exist():
    rooms = {name.partition(".")[0] for name, _ in modules()} - {"raysweep"}
    assert rooms == {room for floor in FLOORS for room in floor}
