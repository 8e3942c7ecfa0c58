"""Every shell command in README.md and docs/*.md runs, or the page says why it is not run.

The line before a fenced block of shell commands is a comment of one of these forms:

    <!-- run -->
    <!-- run with: OLD => NEW; OLD => NEW -->      some text is replaced, to make it quick
    <!-- run in README.md -->                      the same commands stand in a block that is run
    <!-- not run: REASON -->
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "guide.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?P<before>[^\n]*)\n```(?:sh|bash|shell|console)\n(?P<text>.*?)^```", re.M | re.S
)
MARK = re.compile(r"<!-- (run with|run in|run|not run)(?::? (.+))? -->")


@dataclass(frozen=True)
class Block:
    """One block of shell commands and what its page says about running it."""

    page: str
    text: str
    mark: str | None
    detail: str

    @property
    def commands(self):
        """The commands without comments."""
        lines = re.sub(r"(^|\s+)#[^\n]*", "", self.text).splitlines()
        return {" ".join(line.split()) for line in lines if line.strip()}

    @property
    def quick(self):
        """The text with what `run with` replaces."""
        text = self.text
        pairs = self.detail.split("; ") if self.mark == "run with" else []
        for pair in pairs:
            old, new = pair.split(" => ")
            assert text.count(old) == 1, f"{self.page}: {old!r} must stand once in the block"
            text = text.replace(old, new)
        return text


def blocks_of(page):
    for found in FENCE.finditer(page.read_text()):
        mark = MARK.fullmatch(found["before"].strip())
        name = str(page.relative_to(ROOT))
        yield Block(name, found["text"], mark and mark[1], (mark and mark[2]) or "")


BLOCKS = [block for page in dict.fromkeys(PAGES) for block in blocks_of(page)]
RUN = [block for block in BLOCKS if block.mark in ("run", "run with")]


def name_of(block):
    return f"{block.page}: {block.text.splitlines()[0][:40]}"


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_every_block_says_whether_it_is_run(block):
    assert block.mark, "put `<!-- run -->` or `<!-- not run: why -->` on the line before the block"
    assert block.detail or block.mark == "run"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.mark == "run in"], ids=name_of)
def test_a_block_that_runs_on_another_page_stands_there(block):
    elsewhere = set().union(*(other.commands for other in RUN if other.page == block.detail))
    assert block.commands <= elsewhere


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_commands_run(tmp_path):
    for folder in ("search_spaces", "analysis"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for block in RUN:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.quick],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{name_of(block)}\n{done.stdout}\n{done.stderr}"
