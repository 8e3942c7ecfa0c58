"""Starting sweeps as a user does, and what the tests of several files need around them."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

from raysweep.driver import lock as lock_module
from raysweep.driver.lock import Lock, machine_id
from raysweep.errors import StoreBusy
from raysweep.records.store import Store

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")


def start(*args, cwd, stderr=subprocess.PIPE):
    """Start the raysweep command with its output in pipes."""
    return subprocess.Popen(
        [RAYSWEEP, *map(str, args)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def run(*args, cwd):
    """Run the raysweep command; return its exit code, output and errors."""
    with start(*args, cwd=cwd) as process:
        try:
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


def finished(results):
    """Return the files of the finished trials of a results folder and when each was written."""
    return {file.name: file.stat().st_mtime_ns for file in results.glob("trials/*.parquet")}


def wait_until(condition, process=None, *, seconds, pause=0.05):
    """Wait until ``condition``; fail when ``process`` ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)


def wait_for_trials(results, n, process, seconds=300):
    """Wait until a results folder holds ``n`` finished trials."""
    wait_until(lambda: len(finished(results)) >= n, process, seconds=seconds, pause=0.02)


def leave_locks(paths):
    """Leave the lock of a dead driver in each results folder."""
    dead = {"host": "gone", "pid": 1, "token": "x", "since": 0, "heartbeat": 0}
    content = json.dumps(dead | {"machine": machine_id()}).encode()
    for path in paths:
        Store(path).folder.create_bytes(content, "lock.json")


def start_drivers_at_once(paths_of_drivers):
    """Return (path, has_lock) of each driver and round; each driver wants its next path."""
    processes = multiprocessing.get_context("spawn")
    barrier, outcomes = processes.Barrier(len(paths_of_drivers)), processes.Queue()
    drivers = [
        processes.Process(target=_take_locks, args=(paths, barrier, outcomes), daemon=True)
        for paths in paths_of_drivers
    ]
    for driver in drivers:
        driver.start()

    found = [outcomes.get(timeout=200) for paths in paths_of_drivers for _ in paths]
    for driver in drivers:
        driver.join()
    return found


def _take_locks(paths, barrier, outcomes):
    """Be one of the drivers that all want the next of the folders at the same moment."""
    lock_module.SETTLE = 1.0  # the drivers share two cores
    for path in paths:
        lock = Lock(Store(path), say=lambda _: None)
        barrier.wait()
        has_lock = True
        try:
            lock.__enter__()
        except StoreBusy:
            has_lock = False
        outcomes.put((path, has_lock))
        barrier.wait()
        if has_lock:
            lock.__exit__(None, None, None)
