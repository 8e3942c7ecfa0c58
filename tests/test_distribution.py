"""What pip installs: a wheel with the spaces and the starter, and a source distribution that is whole."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD = (
    "from setuptools import build_meta as b; import sys; target = sys.argv[1]\n"
    "print(b.build_wheel(target), b.build_sdist(target))"  # which change sys.argv
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build a wheel and a source distribution from the tracked files, as pip does."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x"], cwd=source, input=archive.stdout, check=True)
    command = [sys.executable, "-c", BUILD, str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl")), next(target.glob("*.tar.gz"))


@pytest.mark.slow
def test_the_wheel_holds_the_spaces_and_the_starter(built, tmp_path):
    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
    for name in (
        "search_spaces/quickstart.yaml",
        "search_spaces/papers/thesis.yaml",
        "raysweep/space/starter/my_model.py.txt",
        "raysweep/report/report.css",
        "raysweep/py.typed",
    ):
        assert any(found.endswith(name) for found in names), name

    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet"]
    subprocess.run([*install, "--target", str(tmp_path / "there"), str(built[0])], check=True)
    find = "from raysweep.space.parsing import load_space; print(load_space('quickstart').name)"
    command = [sys.executable, "-c", find]
    where = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "there")}}
    found = subprocess.run(command, **where, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "quickstart", found.stderr


@pytest.mark.slow
def test_the_source_distribution_is_whole(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    needed = [n for n in tracked.stdout.split() if not n.startswith((".git", ".github"))]
    assert not [name for name in needed if name not in names]
