"""The ladder: a module imports only from floors below its own; each heavy library has one door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "raysweep"

FLOORS = [
    ["errors"],
    [
        "registry",
        "signals",
        "pareto",
        "record",
        "document",
        "durations",
        "layers",
        "optimizers",
        "recogniser",
        "markup",
    ],
    ["metrics", "conditions", "axes", "ranking", "scenarios"],
    ["config"],
    ["data.examples", "data.deal", "provenance", "models.layers"],
    ["data.published", "data.own"],
    ["data.cifar", "data.faces", "data.records"],
    ["data.sources", "models.convolutional", "models.flat", "models.vgg", "models.deep"],
    ["data", "models"],
    ["train"],
    ["packing"],
    ["defences.dpsgd.accounting", "defences.dpsgd.rules", "shadows", "classifier", "decoders"],
    ["defences.dpsgd.clipping"],
    ["defences.dpsgd.gradients", "inference"],
    ["defences.*"],
    ["decoders.ridge", "decoders.convolutional"],
    ["defences", "attacks"],
    ["reconstructions"],
    ["membership.*", "inversion.*"],
    ["membership", "inversion"],
    ["preflight", "blocks", "rungs"],
    ["space", "store"],
    ["trial", "results", "schema", "compaction"],
    [
        "choice",
        "comparison",
        "sweep.attempts",
        "sweep.code",
        "sweep.controller",
        "sweep.lock",
        "sweep.proposals",
        "sweep.pruning",
        "sweep.table",
        "sweep.worker",
    ],
    ["sweep.patience"],
    ["sweep.tuning"],
    ["sweep"],
    ["figures", "printing", "findings"],
    ["panels", "exhibits", "material"],
    ["page"],
    ["report"],
    ["cli"],
]

DOORS = {
    "ray": {"sweep", "sweep.attempts", "sweep.controller", "sweep.tuning", "sweep.worker"},
    "optuna": {"sweep.proposals"},
    "optuna_dashboard": {"sweep.proposals"},
    "opacus": {
        "defences.dpsgd.accounting",
        "defences.dpsgd.clipping",
        "defences.dpsgd.gradients",
    },
    "torchvision": {"data.published"},
    "sklearn": {"data.published"},
    "pyarrow": {"store"},
    "seaborn": {"exhibits", "figures", "panels"},
    "matplotlib": {"exhibits", "figures", "panels"},
}

NO_TORCH_AT_IMPORT = [
    "space",
    "cli",
    "store",
    "data",
    "models",
    "defences",
    "membership",
    "inversion",
]


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name or "raysweep", path


def floor(name):
    for number, names in enumerate(FLOORS):
        family = f"{name.rpartition('.')[0]}.*"
        if name in names or (family in names and "." in name):
            return number
    raise AssertionError(f"{name} stands on no floor: add it to FLOORS")


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
        if below:
            assert floor(below) < floor(name), f"{name} imports {below}"


@pytest.mark.parametrize(("library", "doors"), list(DOORS.items()), ids=list(DOORS))
def test_each_heavy_library_has_one_door(library, doors):
    users = {
        name for name, path in modules() if any(i.split(".")[0] == library for i in imports(path))
    }
    assert users <= doors
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


def test_every_floor_names_modules_that_exist():
    known = {name for name, _ in modules()}
    named = {name for names in FLOORS for name in names if "*" not in name}
    assert named <= known
