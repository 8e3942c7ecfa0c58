"""Sweeps on several nodes of this machine (ray.cluster_utils), which leave and join."""

import os
import random
import signal
import subprocess

import pandas as pd
import pytest
from conftest import SMALL
from driver.sweeps import finished, start, wait_until
from ray.tune.execution.tune_controller import TuneController

from benchmarks.nodes import Nodes
from raysweep.driver.tune_controller import Controller
from raysweep.records.results import load

pytestmark = pytest.mark.timeout(900)  # of a busy machine; some 20 s each

# A worker takes 5 seconds to start, a trial a fraction of that; it says where it ran.
SLOW_START = """
import sys, time
if any("default_worker" in argument for argument in sys.orig_argv):
    time.sleep(5)
"""
WHERE = """
import os, time
import ray
from torch import nn

class Where(nn.Module):
    def __init__(self, n_classes, note, seconds):
        super().__init__()
        self.output, self.note, self.seconds = nn.Linear(64, n_classes), note, seconds
    def forward(self, x):
        if self.training and self.note and ray.is_initialized():
            time.sleep(self.seconds)
            with open(self.note, "a") as file:
                node = ray.get_runtime_context().get_node_id()
                file.write(f"{node} {os.getpid()} {time.time()}\\n")
            self.note = None
        return self.output(x.flatten(1))

def where(shape, n_classes, note, seconds):
    return Where(n_classes, note, seconds)
"""


@pytest.fixture(autouse=True)
def _ray_may_draw_its_ports():
    before = random.getstate()
    yield
    random.setstate(before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "where_model.py").write_text(WHERE)
    (tmp_path / "sitecustomize.py").write_text(SLOW_START)
    model = f"name: 'where_model:where', note: {tmp_path}/note, seconds: 0.5"
    text = SMALL.replace("name: mlp, hidden: [32], activation: tanh", model)
    text = (
        text[: text.index("search:")]
        + "search: {training.learning_rate: {low: 1e-3, high: 1e-1}}\n"
    )
    text += "attacks: {membership: [loss]}\nobjectives: {accuracy: max, attack_auc: min}\n"
    text += "sampler: {name: random}\nseed: 3\n"
    (tmp_path / "where.yaml").write_text(text)
    return tmp_path


def noted(folder):
    """Return node, process and time of each trial that began to train."""
    note = folder / "note"
    lines = note.read_text().splitlines() if note.exists() else []
    frame = pd.DataFrame([line.split() for line in lines], columns=["node", "process", "time"])
    return frame.astype({"time": float})


def sweep(folder, *options):
    args = ("sweep", "where.yaml", "--out", "out", *options)
    return start(*args, cwd=folder, stderr=subprocess.STDOUT)


def test_two_cores_share_trials_that_are_shorter_than_the_start_of_a_process(folder):
    process = sweep(folder, "--trials", 12)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert noted(folder)["process"].head(5).nunique() == 2  # with Tune's own controller: 1


def test_nodes_that_join_or_come_back_run_trials(folder):
    def nodes_noted():
        return noted(folder)["node"].nunique()

    with Nodes(workers=1) as nodes:
        process = sweep(folder, "--address", nodes.address, "--trials", 500)
        wait_until(lambda: nodes_noted() == 1, process, seconds=250)
        nodes.add()
        wait_until(lambda: nodes_noted() == 2, process, seconds=250)
        nodes.kill(0)
        nodes.add()
        wait_until(lambda: nodes_noted() == 3, process, seconds=250)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 130, output
    before = finished(folder / "out")
    n = int(load(folder / "out").trials["number"].max()) + 3
    process = sweep(folder, "--trials", n)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    after = finished(folder / "out")
    assert {name: after.get(name) for name in before} == before
    trials = load(folder / "out").trials
    assert sorted(trials["number"]) == list(range(n))
    assert trials["status"].eq("ok").all()


def test_free_workers_go_to_the_trials_that_were_proposed_first(monkeypatch):
    class Cache:
        num_cached_objects = 3

    def take(self, trial):
        self._actor_cache.num_cached_objects -= 1
        taken.append(trial)

    taken = []
    trials = [f"trial {number}" for number in range(40)]
    controller = Controller.__new__(Controller)
    vars(controller).update(
        _trials=trials,
        _staged_trials=set(trials[2:]),
        _pending_trials=set(trials[1:]),
        _actor_cache=Cache(),
        _trial_to_actor={},
        _max_pending_trials=0,
    )
    monkeypatch.setattr(Controller, "_maybe_reuse_cached_actor", take)
    monkeypatch.setattr(TuneController, "_maybe_update_trial_queue", lambda _: None)
    controller._maybe_update_trial_queue()
    assert taken == trials[2:5]
