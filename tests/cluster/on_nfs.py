"""Tests for a machine that mounts one NFS share twice, as /mnt/a and /mnt/b (see `test_nfs.py`)."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL
from test_object_store import drivers_at_once, leave_behind
from test_sweep import finished, run, start

from raysweep.records.results import load

pytestmark = pytest.mark.timeout(600)
ROUNDS = 2
AWAY = 30  # seconds
A, B = Path("/mnt/a"), Path("/mnt/b")
FIGURES = ["accuracy", "attack_auc", "inversion_mse"]


def serve(threads):
    subprocess.run(["rpc.nfsd", *(["-N", "3"] if threads else []), str(threads)], check=True)


def wait_for(n, process):
    """Wait until the other client sees ``n`` records."""
    deadline = time.monotonic() + 300
    while len(finished(B)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial finished in time"
        time.sleep(1)


def test_one_of_several_drivers_on_two_clients_locks_the_folder():
    names = [f"race{i}" for i in range(ROUNDS)]
    leave_behind(
        f"{A}/{name}" for name in names[::2]
    )  # locked by a dead driver; the others are new
    outcomes = drivers_at_once([[f"{root}/{name}" for name in names] for root in (A, B, A)])
    assert sorted(Path(path).name for path, held in outcomes if held) == names


def test_a_sweep_is_read_on_another_client_and_survives_a_restart_of_server_and_driver(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out")
    with start(*args, A / "out", "--trials", 500, cwd=tmp_path) as process:
        wait_for(2, process)
        assert len(load(str(B / "out")).trials) >= 2
        code, out, err = run(*args, B / "out", cwd=tmp_path)
        assert code == 2, out
        assert "in use" in " ".join(err.split())
        serve(0)
        time.sleep(AWAY)
        assert process.poll() is None
        before = len(finished(Path("/mnt/served")))
        serve(8)
        wait_for(before + 1, process)
        process.kill()
    before = finished(B)
    n = len(before) + 2
    code, out, err = run(*args, B / "out", "--trials", n, cwd=tmp_path)
    assert code == 0, err
    after = finished(A)
    assert {name: after[name] for name in before} == before
    found = load(str(A / "out")).trials.sort_values("number")
    assert found["number"].tolist() == list(range(n))
    print("FOUND", json.dumps(found[FIGURES].to_numpy().tolist()))  # noqa: T201
