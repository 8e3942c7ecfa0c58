"""Temporary folders: each is removed at its end, or by the next sweep if its process was killed."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raysweep.driver.scratch import scratch_folder

HOLD = """
import sys
from raysweep.driver.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold():
    """Start a process that holds a scratch folder; return it and the folder."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=pipe, stdout=pipe, text=True)
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_removed_at_its_end(temporary):
    with scratch_folder() as folder:
        Path(folder, "a").write_text("a")
        assert [*Path(folder).iterdir()] == [Path(folder, "a")]
    assert [*temporary.iterdir()] == []


def test_what_a_kill_left_is_removed_and_what_is_in_use_or_of_others_stays(temporary):
    outside = temporary / "outside"
    for path in (outside, temporary / "raysweep-1000", temporary / "raysweep-scratch-nolock00"):
        path.mkdir()
    (outside / "lock").write_text("")
    (temporary / "raysweep-scratch-linked00").symlink_to(outside)
    kept = {path.name for path in temporary.iterdir()}

    killed, left = hold()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    alive, used = hold()  # removes what the killed process left
    assert not left.parent.exists()

    with scratch_folder():
        assert used.is_dir()
    alive.communicate("")
    assert {path.name for path in temporary.iterdir()} == kept
    assert (outside / "lock").exists()
