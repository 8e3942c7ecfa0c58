"""On a machine with one NFS share mounted twice, /mnt/a and /mnt/b (see `test_nfs.py`)."""

import json
import multiprocessing
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL
from test_object_store import DRIVERS, start_at_once
from test_sweep import finished, run, start

from raysweep.results import load
from raysweep.store import Store
from raysweep.sweep.lock import _machine

pytestmark = pytest.mark.timeout(600)
ROUNDS = 2
AWAY = 30  # seconds
OTHER = Path("/mnt/b")
FIGURES = ["accuracy", "attack_auc", "inversion_mse"]


def serve(threads):
    subprocess.run(["rpc.nfsd", *(["-N", "3"] if threads else []), str(threads)], check=True)


def finished_on(root):
    return finished(Path(root))


def wait_for(n, process):
    """Wait until the other client sees ``n`` records."""
    deadline = time.monotonic() + 300
    while len(finished_on(OTHER)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial finished in time"
        time.sleep(1)


def test_of_drivers_on_two_clients_one_holds_the_folder():
    names = [f"race{i}" for i in range(ROUNDS)]
    dead = {"host": "gone", "pid": 1, "token": "x", "since": 0, "heartbeat": 0}
    for name in names[::2]:  # left behind by a dead driver; the others are new
        content = json.dumps(dead | {"machine": _machine()}).encode()
        Store(f"/mnt/a/{name}").create_bytes(content, "lock.json")
    processes = multiprocessing.get_context("spawn")
    together, found = processes.Barrier(DRIVERS), processes.Queue()
    drivers = [
        processes.Process(
            target=start_at_once,
            args=([f"/mnt/{'ab'[i % 2]}/{name}" for name in names], together, found),
            daemon=True,
        )
        for i in range(DRIVERS)
    ]
    for driver in drivers:
        driver.start()
    told = [found.get(timeout=300) for _ in range(DRIVERS * ROUNDS)]
    for driver in drivers:
        driver.join()
    assert sorted(path.rpartition("/")[2] for path, held in told if held) == names


def test_a_sweep_is_read_elsewhere_and_outlives_the_server_and_its_driver(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out")
    with start(*args, "/mnt/a/out", "--trials", 500, cwd=tmp_path) as process:
        wait_for(2, process)
        assert len(load(str(OTHER / "out")).trials) >= 2
        code, out, err = run(*args, OTHER / "out", cwd=tmp_path)
        assert code == 2, out
        assert "in use" in " ".join(err.split())
        serve(0)
        time.sleep(AWAY)
        assert process.poll() is None
        before = len(finished_on("/mnt/served"))
        serve(8)
        wait_for(before + 1, process)
        process.kill()
    before = finished_on(OTHER)
    n = len(before) + 2
    code, out, err = run(*args, OTHER / "out", "--trials", n, cwd=tmp_path)
    assert code == 0, err
    after = finished_on("/mnt/a")
    assert {name: after[name] for name in before} == before
    found = load("/mnt/a/out").trials.sort_values("number")
    assert found["number"].tolist() == list(range(n))
    print("FOUND", json.dumps(found[FIGURES].to_numpy().tolist()))  # noqa: T201
