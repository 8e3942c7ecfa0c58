"""Results on object storage: a real S3 server (rclone's), a real sweep, a real kill."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from conftest import SMALL

from raysweep.driver import lock as lock_module
from raysweep.driver.lock import Lock, _machine
from raysweep.errors import StoreBusy, StoreError
from raysweep.records.results import load
from raysweep.records.store import Store

BIN = Path(sys.executable).parent
RCLONE = shutil.which("rclone", path=str(BIN)) or shutil.which("rclone")
pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(RCLONE is None, reason="needs rclone")]


def serve(folder, port):
    return subprocess.Popen(
        [RCLONE, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--no-cleanup"],
        env={**os.environ, "RCLONE_AUTH_KEY": '"tester,secret-of-tests"'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def answers(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def port(monkeypatch):
    """Where s3:// leads to: a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield port
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def bucket(tmp_path, port):
    """The folder behind s3://bucket, and a function that stops or starts the server."""
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    server = []

    def switch(on):
        if on:
            server.append(serve(tmp_path / "s3", port))
            wait_until(lambda: answers(port))
        else:
            process = server.pop()
            process.terminate()
            process.wait()

    switch(True)
    yield tmp_path / "s3" / "bucket", switch
    if server:
        switch(False)


@pytest.fixture
def conditional_bucket(port):
    """s3://bucket on a server that knows conditional writes, as S3 does and rclone's does not."""
    server = subprocess.Popen(
        [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(port))
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.terminate()
        server.wait()


def start(*args, cwd):
    return subprocess.Popen(
        [BIN / "raysweep", *map(str, args)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def written(folder):
    """Return when each record of a results folder was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("trials/*.parquet")}


def test_a_sweep_on_s3_is_watched_killed_and_continued(bucket, tmp_path):
    folder, _ = bucket
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out", "s3://bucket/deep/out", "--trials", "6")
    process = start(*args, cwd=tmp_path)
    wait_until(lambda: len(written(folder / "deep/out")) >= 2, seconds=120)
    assert len(load("s3://bucket/deep/out").trials) >= 2  # from a laptop, while it runs
    holder = json.loads(Store("s3://bucket/deep/out").folder.read_bytes("lock.json"))
    assert (holder["pid"], holder["host"]) == (process.pid, os.uname().nodename)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = written(folder / "deep/out")
    process = start(*args, cwd=tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "6 trials, 0 failed" in out
    after = written(folder / "deep/out")
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    assert not (folder / "deep/out/lock.json").exists()
    assert (folder / "deep/out/front.png").exists()
    assert "secret-of-tests" not in out + err


def test_a_bucket_that_is_gone_for_a_while_costs_nothing_but_the_while(bucket, tmp_path):
    folder, switch = bucket
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out", "s3://bucket/out", "--trials", "8")
    process = start(*args, cwd=tmp_path)
    wait_until(lambda: len(written(folder / "out")) >= 2, seconds=120)
    switch(False)
    before = written(folder / "out")
    time.sleep(15)
    switch(True)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "8 trials, 0 failed" in out
    assert "waiting for it another" in " ".join(err.split())
    after = written(folder / "out")
    assert len(after) == 8
    assert {name: after[name] for name in before} == before


def test_two_drivers_never_hold_one_folder_on_s3(bucket):
    store, other = Store("s3://bucket/out"), Store("s3://bucket/out")
    with Lock(store), pytest.raises(StoreBusy, match=f"in use by process {os.getpid()}"):
        Lock(other).__enter__()
    with Lock(other):
        pass


DRIVERS, ROUNDS = 3, 4


def start_at_once(paths, together, found):
    """Be one of the drivers that all want the next of the folders at the same moment."""
    lock_module.SETTLE = 1.0  # these share two cores
    for path in paths:
        lock = Lock(Store(path), say=lambda _: None)
        together.wait()
        held = True
        try:
            lock.__enter__()
        except StoreBusy:
            held = False
        found.put((path, held))
        together.wait()
        if held:
            lock.__exit__(None, None, None)


def leave_behind(paths):
    dead = {"host": "gone", "pid": 1, "token": "x", "since": 0, "heartbeat": 0}
    content = json.dumps(dead | {"machine": _machine()}).encode()
    for path in paths:
        Store(path).folder.create_bytes(content, "lock.json")


def drivers_at_once(wanted):
    """Return (path, held) of each driver and round; a driver wants the next of its paths."""
    processes = multiprocessing.get_context("spawn")
    together, found = processes.Barrier(len(wanted)), processes.Queue()
    drivers = [
        processes.Process(target=start_at_once, args=(paths, together, found), daemon=True)
        for paths in wanted
    ]
    for driver in drivers:
        driver.start()
    told = [found.get(timeout=200) for paths in wanted for _ in paths]
    for driver in drivers:
        driver.join()
    return told


@pytest.mark.parametrize("where", ["s3", "disk"])
def test_of_drivers_that_start_at_once_one_holds_the_folder(request, tmp_path, where):
    root = request.getfixturevalue("conditional_bucket") if where == "s3" else str(tmp_path)
    paths = [f"{root}/out{i}" for i in range(ROUNDS)]
    leave_behind(paths[::2])  # by a dead driver; the others are new
    told = drivers_at_once([paths] * DRIVERS)
    assert sorted(path for path, held in told if held) == paths


def test_a_bucket_that_is_not_there_is_named(bucket):
    with pytest.raises(StoreError, match="results folder s3://nowhere/out cannot be written"):
        Lock(Store("s3://nowhere/out")).__enter__()


def test_a_wrong_key_is_an_error_and_is_not_repeated(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError) as told:
        Store("s3://bucket/out").folder.write_bytes(b"x", "space.yaml")
    assert "not-the-secret" not in str(told.value)
