"""Every import is declared in pyproject.toml, and every lower bound is the version of the lowest job."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# folder -> the extras that it may use beside the dependencies of every installation
ALLOWED = {
    "raysweep": ["dashboard"],
    "analysis": [],
    "benchmarks": ["bench", "dev"],
    "tests": ["dev"],
}
# import name -> distribution, where they differ and `make install` installs no such package
NOT_INSTALLED = {"art": "adversarial-robustness-toolbox"}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(requirement):
    return normal(re.match(r"[\w.-]+", requirement)[0])


def declared(extras=()):
    requirements = [*PROJECT["dependencies"], *(r for extra in extras for r in EXTRAS[extra])]
    return {distribution(requirement) for requirement in requirements}


def imported(folder):
    """Yield (file, top-level package) for every import of another project's package."""
    scripts = ("analysis", "benchmarks", "tests")  # their files import each other by bare names
    own = {path.stem for name in scripts for path in (ROOT / name).rglob("*.py")}
    own |= {*ALLOWED, *(path.name for path in (ROOT / "tests").iterdir() if path.is_dir())}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names}:
                if top not in sys.stdlib_module_names and top not in own:
                    yield path.relative_to(ROOT), top


@pytest.mark.parametrize("folder", list(ALLOWED))
def test_every_import_is_declared(folder):
    names = packages_distributions()
    allowed = declared(ALLOWED[folder])
    for path, top in imported(folder):
        owners = {normal(owner) for owner in names.get(top, [NOT_INSTALLED.get(top, top)])}
        assert owners & allowed, f"{path} imports {top}: declare it in pyproject.toml"


def test_every_dependency_of_the_package_is_imported():
    names = packages_distributions()
    used = {normal(owner) for _, top in imported("raysweep") for owner in names.get(top, ())}
    assert declared() <= used | {"opacus"}  # dpsgd.accounting reads two of its files by their path


def pinned(name):
    lines = (ROOT / name).read_text().splitlines()
    pins = (line.split("==") for line in lines if line and line[0] not in "# ")
    return {normal(name): version.split()[0] for name, version in pins}


def test_the_lowest_job_installs_exactly_the_lower_bounds():
    pins, wrong = pinned("constraints-lowest.txt"), {}
    for requirement in [*PROJECT["dependencies"], *EXTRAS["dev"]]:
        name, _, bound = re.sub(r"\[.*\]", "", requirement).partition(">=")
        version = pins[normal(name)]
        if version.split(".")[: bound.count(".") + 1] != bound.split("."):
            wrong[requirement] = version
    assert wrong == {}


def test_the_tested_versions_pin_every_dependency():
    assert declared(["dev", "bench"]) - {"raysweep"} <= set(pinned("constraints.txt"))
