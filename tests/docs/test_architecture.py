"""What docs/architecture.md and CONTRIBUTING.md name exists, and the floors are those of the test."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from test_ladder import FLOORS, IMPORTED_IN

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ARCHITECTURE, ROOT / "CONTRIBUTING.md"]

FILE = re.compile(r"\.?[\w/.-]+\.(py|md|toml|txt|yaml|cff)|\w[\w/]*/")
DOTTED = re.compile(r"raysweep(\.\w+)+")
DEFINED = re.compile(r"(?P<names>[A-Z]\w+(\.\w+)*)(\(.*\))?")
OF_OTHERS = {"Raises", "ATTACKS"}  # a section of docstrings, a table of the tests


def in_backticks(page):
    """Return every text in backticks outside fenced blocks, without repetition."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return sorted(set(re.findall(r"`([^`\n]+)`", text)))


def names_matching(pattern):
    found = [(page, name) for page in PAGES for name in in_backticks(page)]
    return [
        pytest.param(page, name, id=f"{page.name}: {name}")
        for page, name in found
        if pattern.fullmatch(name)
    ]


def definitions():
    """Return every name that a file of raysweep defines, fields of classes included."""
    names = set()
    for path in (ROOT / "raysweep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def rows_of(heading):
    """Return the cells of the table whose first column has this heading."""
    lines = ARCHITECTURE.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    table = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            return table
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


@pytest.mark.parametrize(("page", "name"), names_matching(FILE))
def test_every_file_that_a_page_names_exists(page, name):
    assert any((folder / name).exists() for folder in (ROOT, ROOT / "raysweep")), page.name


@pytest.mark.parametrize(("page", "name"), names_matching(DOTTED))
def test_every_dotted_name_of_raysweep_exists(page, name):
    module, *attributes = name.split(".")
    thing = importlib.import_module(module)
    for attribute in attributes:
        module = f"{module}.{attribute}"
        thing = getattr(thing, attribute, None) or importlib.import_module(module)


def test_every_class_and_constant_that_a_page_names_is_defined():
    defined = definitions() | OF_OTHERS
    for page in PAGES:
        for text in in_backticks(page):
            match = DEFINED.fullmatch(text)
            if match and not FILE.fullmatch(text):
                assert set(match["names"].split(".")) <= defined, f"{page.name}: {text}"


def test_a_name_and_the_file_beside_it_belong_together():
    pairs = re.findall(r"`(\w+)(?:\(\))?` \((?:in )?`([\w/]+\.py)`", ARCHITECTURE.read_text())
    pairs += re.findall(r"\(`(\w+)` in `([\w/]+\.py)`\)", ARCHITECTURE.read_text())
    assert len(pairs) > 10
    for name, file in pairs:
        text = (ROOT / "raysweep" / file).read_text()
        assert re.search(rf"^(class|def) {name}\b", text, flags=re.M), f"{name} in {file}"


def test_the_floors_of_the_page_are_those_that_are_tested():
    floors = {}
    for number, package, *_ in rows_of("floor"):
        name = package.strip("`").removesuffix("/").removesuffix(".py")
        floors.setdefault(int(number), set()).add(name)
    assert floors == {number: set(packages) for number, packages in enumerate(FLOORS, start=1)}


def test_the_libraries_of_the_page_are_those_that_are_tested():
    imported_in = {}
    for libraries, package in rows_of("library"):
        name = package.strip("`").removesuffix("/").replace("/", ".")
        imported_in |= {library.strip("` "): {name} for library in libraries.split(",")}
    assert imported_in == IMPORTED_IN
