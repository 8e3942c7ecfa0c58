"""Tests for a machine that mounts one NFS share twice, as /mnt/a and /mnt/b (see `test_nfs.py`)."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL
from driver.sweeps import finished, leave_locks, run, start, start_drivers_at_once, wait_until

from raysweep.records.results import load

pytestmark = pytest.mark.timeout(600)
ROUNDS = 2
AWAY = 30  # seconds
A, B = Path("/mnt/a"), Path("/mnt/b")
FIGURES = ["accuracy", "attack_auc", "inversion_mse"]


def serve(threads):
    subprocess.run(["rpc.nfsd", *(["-N", "3"] if threads else []), str(threads)], check=True)


def wait_for_trials(n, process):
    """Wait until the other client sees ``n`` records."""
    wait_until(lambda: len(finished(B / "out")) >= n, process, seconds=300, pause=1)


def test_one_of_several_drivers_on_two_clients_locks_the_folder():
    names = [f"race{i}" for i in range(ROUNDS)]
    leave_locks(f"{A}/{name}" for name in names[::2])  # by a dead driver; the others are new
    outcomes = start_drivers_at_once([[f"{root}/{name}" for name in names] for root in (A, B, A)])
    assert sorted(Path(path).name for path, has_lock in outcomes if has_lock) == names


def test_a_sweep_is_read_on_another_client_and_survives_a_restart_of_server_and_driver(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out")
    with start(*args, A / "out", "--trials", 500, cwd=tmp_path) as process:
        wait_for_trials(2, process)
        assert len(load(str(B / "out")).trials) >= 2
        code, out, err = run(*args, B / "out", cwd=tmp_path)
        assert code == 2, out
        assert "in use" in " ".join(err.split())
        serve(0)
        time.sleep(AWAY)
        assert process.poll() is None
        before = len(finished(Path("/mnt/served/out")))
        serve(8)
        wait_for_trials(before + 1, process)
        process.kill()
    before = finished(B / "out")
    n = len(before) + 2
    code, out, err = run(*args, B / "out", "--trials", n, cwd=tmp_path)
    assert code == 0, err
    after = finished(A / "out")
    assert {name: after[name] for name in before} == before
    found = load(str(A / "out")).trials.sort_values("number")
    assert found["number"].tolist() == list(range(n))
    print("FOUND", json.dumps(found[FIGURES].to_numpy().tolist()))  # noqa: T201
