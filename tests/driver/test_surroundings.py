"""Where a sweep is started: files named like modules, full folders, no home, a Ray that is there."""

import os
import re
import subprocess
import sys

import pytest
from conftest import SMALL
from driver.sweeps import run

from raysweep.data.published import cache_folder
from raysweep.driver.cluster import _check_address, _explain
from raysweep.driver.local_ray import PRESTARTED, _limit_workers, local_processes
from raysweep.driver.surroundings import made_fit, remedy_for
from raysweep.errors import ClusterError
from raysweep.records.results import load

pytestmark = pytest.mark.timeout(600)

ONE_EPOCH = SMALL.replace("epochs: 4", "epochs: 1").replace("trials: 5", "trials: 2")

TRAP = "raise SystemExit('a file of the working folder took the place of a library')\n"

OWN = """
from torch import nn

def model(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
"""


def test_files_of_the_working_folder_take_no_librarys_place_in_workers(tmp_path):
    text = ONE_EPOCH.replace("{name: mlp, hidden: [32], activation: tanh}", "{name: 'own:model'}")
    text = text.replace("  dropout: {low: 0.0, high: 0.5}\n", "").replace("  inversion", "  #")
    (tmp_path / "small.yaml").write_text(text + "objectives: {accuracy: max, attack_auc: min}\n")
    (tmp_path / "own.py").write_text(OWN)
    for name in ("random", "types", "ray", "raysweep", "torch", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    code, _, err = run("sweep", "small.yaml", "--out", "out", cwd=tmp_path)
    assert code == 0, err
    assert load(str(tmp_path / "out")).trials["status"].tolist() == ["ok", "ok"]


RAY_IS_THERE = """
import sys
import ray, raysweep
from rich.console import Console

ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
space = raysweep.load_space("small.yaml", {"resources.gpu": 0.25})
print(raysweep.sweep(space, out="gpu", trials=1, console=Console()).ok)
try:
    space = raysweep.load_space("small.yaml", {"resources.cpu": 2})
    raysweep.sweep(space, out="cpu", trials=1)
except raysweep.errors.ClusterError as error:
    print(error)
print(ray.is_initialized())
"""


def test_a_ray_that_is_there_already_gets_the_same_rules_as_raysweeps_own(tmp_path):
    (tmp_path / "small.yaml").write_text(ONE_EPOCH)
    done = subprocess.run(
        [sys.executable, "-c", RAY_IS_THERE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, ok, refused, is_there = done.stdout.splitlines()
    assert "no GPU on this machine: trials run on the CPU" in done.stdout
    assert (ok, is_there) == ("1", "True")
    assert refused.startswith("a trial takes CPU 2 and this machine has 1; lower resources.cpu")


def test_a_long_tmpdir_and_a_home_that_cannot_be_written_are_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(ONE_EPOCH)
    long = tmp_path / ("d" * 100)
    long.mkdir()
    for name, value in {"TMPDIR": long, "HOME": "/proc/self", "XDG_CACHE_HOME": ""}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "1", cwd=tmp_path)
    assert code == 0, err
    assert "1 trial, 0 failed" in out


def test_what_keeps_ray_from_starting_is_told_with_what_helps():
    found = {
        reason: remedy_for(reason) for reason in ("AF_UNIX path length", "No space left on it")
    }
    assert "RAY_TMPDIR to a folder with a short path" in found["AF_UNIX path length"]
    assert "make room in " in found["No space left on it"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Version mismatch: The cluster was started with:\n Ray: 2.50 Python: 3.11",
            "3.11.*same Python",
        ),
        ("Unauthenticated: invalid token", "does not accept the token.*RAY_AUTH_MODE=token"),
        ("connection refused", "there is no Ray cluster at 'host:1'"),
    ],
)
def test_a_wrong_token_other_versions_and_no_cluster_are_three_messages(text, message):
    assert re.search(message, str(_explain(RuntimeError(text), "host:1")))


def test_an_address_without_a_host_is_refused_before_ray_reads_it():
    with pytest.raises(ValueError, match="names no host"):
        _check_address(":5")


GUARDED = """
import sys
from benchmarks.nodes import Nodes

with Nodes(workers=0) as nodes:
    print(nodes.address, flush=True)
    sys.stdin.read()
"""

TOKENS = [
    {"RAY_AUTH_MODE": "token"},  # and no token in the home
    {"RAY_AUTH_TOKEN": "1" * 64},
]


def test_a_cluster_with_another_token_is_told_from_one_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(ONE_EPOCH)
    monkeypatch.setenv("HOME", str(tmp_path))
    command = [sys.executable, "-c", GUARDED]
    env = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as cluster:
        address = cluster.stdout.readline().strip()
        for variables in TOKENS:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            code, _, err = run("sweep", "small.yaml", "--address", address, cwd=tmp_path)
            assert code == 2, err
            last = err.splitlines()[-1]
            assert last.startswith(f"error: Ray at '{address}' does not accept the token"), err
            assert "gcs_client" not in err
        cluster.communicate("")


def test_a_temporary_folder_that_ray_cannot_use_is_refused_before_ray_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("raysweep.driver.surroundings.LEAST_ROOM", 2**40)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(ClusterError, match="needs at least .* MiB in .*; make room in"):
        made_fit(here=True).__enter__()
    with made_fit(here=False) as options:  # a cluster's own folders are elsewhere
        assert options == {}

    long = tmp_path / ("d" * 100)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(ClusterError, match="a shorter path than .*; set RAY_TMPDIR"):
        made_fit(here=True).__enter__()


def test_a_user_without_a_name_and_a_home_gets_a_cache_and_a_name(monkeypatch):
    def unknown(_):
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder().is_absolute()
    with made_fit(here=True):
        assert os.environ["LOGNAME"].startswith("user-")
        assert os.environ["RAY_AUTH_TOKEN"]
        assert os.path.isabs(os.environ["HOME"])
    assert "HOME" not in os.environ
    assert "LOGNAME" not in os.environ


def test_a_signal_to_the_drivers_group_does_not_end_ray_before_the_driver():
    from ray._private import services

    with local_processes({}, cpus=1, at_once=1):
        process = services.ConsolePopen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    finally:
        process.communicate(b"\n")
    assert services.ConsolePopen.__name__ == "ConsolePopen"


@pytest.mark.parametrize(
    ("cpus", "at_once", "workers"), [(1, 100, 64), (4, 100, 16), (0.5, 200, 128), (4, 3, 3)]
)
def test_as_many_workers_start_with_ray_as_trials_run_at_once(cpus, at_once, workers):
    argument = f"{PRESTARTED}64"
    assert _limit_workers(argument, cpus, at_once) == f"{PRESTARTED}{workers}"
    assert _limit_workers("--node_ip_address=127.0.0.1", cpus, at_once).endswith("127.0.0.1")
