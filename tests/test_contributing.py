"""The worked examples of CONTRIBUTING.md: add them to a copy of raysweep and run its suites."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(language):
    """Return file -> text for each fenced block, whose first line names the file."""
    found = re.findall(rf"^```{language}\n *# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return dict(found)


def insert(text, diff):
    """Return ``text`` with each `+` line of ``diff`` inserted below the line before it."""
    lines, position = text.splitlines(), 0
    for line in diff.splitlines():
        if line[0] == "+":
            position += 1
            lines.insert(position, line[1:])
        else:
            position = lines.index(line[1:])
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with every example of CONTRIBUTING.md added."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in ("raysweep", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in blocks("python").items():
        assert not (folder / name).exists(), name
        (folder / name).write_text(text)
    for name, diff in blocks("diff").items():
        path = folder / name
        path.write_text(insert(path.read_text(), diff))
    return folder


def call(copy, *command):
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_two_examples_of_a_file_and_two_catalogue_lines_each():
    assert len(blocks("python")) == 2
    for diff in blocks("diff").values():
        assert sum(line[0] == "+" for line in diff.splitlines()) == 2


def test_the_examples_are_in_our_style(copy):
    call(copy, "ruff", "check", "raysweep")
    call(copy, "ruff", "format", "--check", "raysweep")


LEAST = {
    "tests/attacks/test_membership.py": ("correctness", 5),
    "tests/defences/test_defences.py": ("ConfidencePenalty", 14),
    "tests/test_ladder.py": ("correctness or confidence_penalty", 2),
}
"""Suite -> the name of an example in it, and the least number of tests that cover it."""


@pytest.mark.slow
def test_the_suites_cover_an_example_without_another_line(copy):
    names = " or ".join(name for name, _ in LEAST.values())
    printed = call(copy, "pytest", "-v", "-p", "no:cacheprovider", *LEAST, "-k", names)
    for suite, (name, least) in LEAST.items():
        any_of = "|".join(name.split(" or "))
        assert len(re.findall(rf"^{suite}::.*({any_of}).* PASSED", printed, re.M)) >= least, printed


@pytest.mark.slow
def test_the_command_line_lists_the_examples(copy):
    assert "correctness" in call(copy, "raysweep", "list", "attacks")
    assert "confidence_penalty" in call(copy, "raysweep", "list", "defences")
