"""Results on object storage: a real S3 server (rclone's), a real sweep, a real kill."""

import json
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
from driver.sweeps import (
    finished,
    leave_locks,
    start,
    start_drivers_at_once,
    wait_for_trials,
    wait_until,
)

from raysweep.driver.lock import Lock
from raysweep.errors import StoreBusy, StoreError
from raysweep.records.results import load
from raysweep.records.store import Store

BIN = Path(sys.executable).parent
RCLONE = shutil.which("rclone", path=str(BIN)) or shutil.which("rclone")
pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(RCLONE is None, reason="needs rclone")]


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
            wait_until(lambda: answers(port), seconds=60)
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
        wait_until(lambda: answers(port), seconds=60)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.terminate()
        server.wait()


def test_a_sweep_on_s3_is_read_while_it_runs_killed_and_continued(bucket, tmp_path):
    folder, _ = bucket
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out", "s3://bucket/deep/out", "--trials", "6")
    process = start(*args, cwd=tmp_path)
    wait_for_trials(folder / "deep/out", 2, process)
    assert len(load("s3://bucket/deep/out").trials) >= 2  # another machine reads while it runs
    holder = json.loads(Store("s3://bucket/deep/out").folder.read_bytes("lock.json"))
    assert (holder["pid"], holder["host"]) == (process.pid, os.uname().nodename)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished(folder / "deep/out")
    process = start(*args, cwd=tmp_path)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "6 trials, 0 failed" in out
    after = finished(folder / "deep/out")
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    assert not (folder / "deep/out/lock.json").exists()
    assert (folder / "deep/out/front.png").exists()
    assert "secret-of-tests" not in out + err


def test_a_sweep_waits_for_a_bucket_that_is_gone_for_a_while(bucket, tmp_path):
    folder, switch = bucket
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("sweep", "small.yaml", "--out", "s3://bucket/out", "--trials", "8")
    process = start(*args, cwd=tmp_path)
    wait_for_trials(folder / "out", 2, process)
    switch(False)
    before = finished(folder / "out")
    time.sleep(15)
    switch(True)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "8 trials, 0 failed" in out
    assert "waiting for it another" in " ".join(err.split())
    after = finished(folder / "out")
    assert len(after) == 8
    assert {name: after[name] for name in before} == before


def test_a_folder_on_s3_has_one_lock(bucket):
    store, other = Store("s3://bucket/out"), Store("s3://bucket/out")
    with Lock(store), pytest.raises(StoreBusy, match=f"in use by process {os.getpid()}"):
        Lock(other).__enter__()
    with Lock(other):
        pass


N_DRIVERS, N_ROUNDS = 3, 4


@pytest.mark.parametrize("where", ["s3", "disk"])
def test_one_of_several_drivers_that_start_at_once_gets_the_lock(request, tmp_path, where):
    root = request.getfixturevalue("conditional_bucket") if where == "s3" else str(tmp_path)
    paths = [f"{root}/out{i}" for i in range(N_ROUNDS)]
    leave_locks(paths[::2])  # by a dead driver; the others are new
    outcomes = start_drivers_at_once([paths] * N_DRIVERS)
    assert sorted(path for path, has_lock in outcomes if has_lock) == paths


def test_a_missing_bucket_is_named(bucket):
    with pytest.raises(StoreError, match="results folder s3://nowhere/out cannot be written"):
        Lock(Store("s3://nowhere/out")).__enter__()


def test_a_wrong_key_is_an_error_that_does_not_print_it(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError) as error:
        Store("s3://bucket/out").folder.write_bytes(b"x", "space.yaml")
    assert "not-the-secret" not in str(error.value)
