"""Real sweeps through the command line: real Ray, real training, real kills."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import SMALL
from rich.console import Console

from raysweep.driver.interrupts import _interrupt
from raysweep.records.objectives import Objectives
from raysweep.records.results import load
from raysweep.records.store import Store

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
pytestmark = pytest.mark.timeout(400)


def start(*args, cwd):
    return subprocess.Popen(
        [RAYSWEEP, *map(str, args)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*args, cwd):
    with start(*args, cwd=cwd) as process:
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def finished(folder):
    """Return the trial files of the sweep and when each was written."""
    trials = folder / "out" / "trials"
    return (
        {p.name: p.stat().st_mtime_ns for p in trials.glob("*.parquet")} if trials.exists() else {}
    )


def wait_for(folder, n, process, seconds=120):
    deadline = time.monotonic() + seconds
    while len(finished(folder)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial finished in time"
        time.sleep(0.02)


def test_a_sweep_runs_continues_and_refuses_to_become_another(folder):
    code, out, err = run("sweep", "small.yaml", "--out", "out", cwd=folder)
    assert code == 0, err
    assert "The front: no trial beats these" in out
    assert "5 trials, 0 failed" in out
    assert (folder / "out" / "front.png").stat().st_size > 10_000
    first = finished(folder)
    results = load(str(folder / "out"))
    baseline = results.trials.iloc[0]
    assert (baseline["number"], baseline["epsilon"], baseline["dropout"]) == (0, float("inf"), 0.0)
    assert set(results.trials["split_hash"]) == {baseline["split_hash"]}
    assert (
        pd.read_parquet(folder / "out" / "front.parquet")["trial_id"]
        .isin(results.trials["trial_id"])
        .all()
    )

    code, out, _ = run("sweep", "small.yaml", "--out", "out", "--trials", "7", cwd=folder)
    assert code == 0
    assert "7 trials, 0 failed" in out
    assert {name: finished(folder)[name] for name in first} == first

    changed = ("--set", "training.epochs=9")
    code, _, err = run("sweep", "small.yaml", "--out", "out", *changed, cwd=folder)
    assert code == 2
    assert "holds another sweep" in err
    assert "training.epochs: 4 -> 9" in err

    code, out, err = run("best", "out", "--where", "accuracy >= 0.1", cwd=folder)
    assert code == 0, err
    (folder / "best.yaml").write_text(out)
    code, out, err = run("trial", "best.yaml", "--json", cwd=folder)
    assert code == 0, err
    again = json.loads(out)["trial"]
    row = results.trials.set_index("trial_id").loc[again["trial_id"]]
    assert again["accuracy"] == row["accuracy"]
    assert again["attack_auc"] == pytest.approx(row["attack_auc"])


def test_a_killed_driver_loses_nothing_and_runs_nothing_twice(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    wait_for(folder, 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished(folder)
    assert 3 <= len(before) < 8
    attacks = folder / "out" / "attacks"
    shutil.copy(next(attacks.glob("*.parquet")), attacks / f"{'f' * 16}.parquet")  # it had begun
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    assert code == 0, err
    assert "8 trials, 0 failed" in out
    after = finished(folder)
    assert len(after) == 8
    assert {name: after[name] for name in before} == before
    numbers = load(str(folder / "out")).trials["number"].tolist()
    assert numbers == list(range(8))
    assert {file.name for file in attacks.iterdir()} == after.keys()


def test_ctrl_c_stops_cleanly_and_the_same_command_continues(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    wait_for(folder, 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command continues" in out
    assert "Traceback" not in err
    assert not (folder / "out" / "lock.json").exists()
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    assert code == 0, err
    assert "8 trials, 0 failed" in out


def test_a_pruned_sweep_is_killed_continued_and_refused_another_pruner(folder):
    block = "pruning: {grace_epochs: 1, reduction_factor: 2}"
    text = SMALL.replace("sampler:", f"{block}\nsampler:")
    (folder / "small.yaml").write_text(text)
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "16", cwd=folder)
    wait_for(folder, 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished(folder)
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "16", cwd=folder)
    assert code == 0, err
    assert {name: finished(folder)[name] for name in before} == before
    results = load(str(folder / "out"))
    trials, epochs = results.trials, results.epochs
    pruned = trials[trials["status"] == "pruned"]
    assert set(trials["status"]) == {"ok", "pruned"}
    assert f"{16 - len(pruned)} trials, {len(pruned)} pruned, 0 failed" in out
    assert (trials["number"].tolist(), trials["status"].iloc[0]) == (list(range(16)), "ok")
    lengths = epochs.groupby("trial_id")["epoch"].max()
    assert lengths[pruned["trial_id"]].tolist() == pruned["stopped_epoch"].tolist()
    assert (lengths[trials.loc[trials["status"] == "ok", "trial_id"]] == 4).all()
    assert epochs["attack_auc"].notna().equals(epochs["epoch"] <= 2)
    private = pruned[pruned["target_epsilon"] < float("inf")]
    assert (private["epsilon"] < private["target_epsilon"]).all()
    assert not set(pruned["trial_id"]) & set(results.attacks["trial_id"])
    assert not set(pruned["trial_id"]) & set(results.front()["trial_id"])

    changed = ("--set", "pruning.reduction_factor=3")
    code, _, err = run("sweep", "small.yaml", "--out", "out", *changed, cwd=folder)
    assert code == 2
    assert "pruning.reduction_factor: 2.0 -> 3.0" in err


TROUBLE = """
import os, resource, signal, time
import torch
from torch import nn

class Trouble(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.output = kind, nn.Linear(64, 10)
    def forward(self, x):
        if self.training and self.kind == 1:
            raise RuntimeError("the user's own mistake")
        if self.training and self.kind == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.training and self.kind == 3:
            raise MemoryError("too large")
        if self.training and self.kind == 5 and not os.path.exists("hung"):
            open("hung", "w").close()
            time.sleep(1000)
        if self.training and self.kind == 6:  # a GiB an example, never touched: real refusals
            size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (size + 8 * 2**30, hard))
            try:
                torch.empty(len(x) * 2**28)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        z = self.output(x.flatten(1))
        return z * float("nan") if self.training and self.kind == 4 else z

def trouble(shape, n_classes, kind=0):
    return Trouble(kind)
"""


def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_sweep_goes_on(folder):
    (folder / "trouble.py").write_text(TROUBLE)
    text = SMALL.replace("{name: mlp, hidden: [32], activation: tanh}", "{name: 'trouble:trouble'}")
    begin, end = text.index("search:"), text.index("attacks:")
    text = f"{text[:begin]}search: {{model.kind: {{values: [0, 1, 2, 3, 4, 5, 6]}}}}\n{text[end:]}"
    text += "resources: {cpu: 1, time_limit: 30s}\n"
    (folder / "trouble.yaml").write_text(text.replace("name: random", "name: grid"))
    code, _out, err = run("sweep", "trouble.yaml", "--out", "out", "--trials", "8", cwd=folder)
    assert code == 1, err
    trials = load(str(folder / "out")).trials.set_index("number")
    kinds = {json.loads(c)["model"].get("kind", 0): i for i, c in trials["config"].items()}
    told = {kind: trials.loc[number] for kind, number in kinds.items()}
    assert told[0]["status"] == "ok"
    assert [told[kind]["status"] for kind in (1, 2, 3, 4)] == ["failed"] * 4
    assert "the user's own mistake" in told[1]["error"]
    assert "died" in told[2]["error"]
    assert "too large" in told[3]["error"]
    assert "the loss of epoch 1 is nan" in told[4]["error"]
    assert [told[kind]["attempts"] for kind in (1, 2, 3, 4)] == [1, 4, 2, 1]
    retries = {kind: row["retries"] if row["attempts"] > 1 else "[]" for kind, row in told.items()}
    reasons = {kind: json.loads(retries[kind]) for kind in (1, 2, 3, 4)}
    assert [len(reasons[kind]) for kind in (1, 2, 3, 4)] == [0, 3, 1, 0]
    assert all("died" in reason for reason in reasons[2])
    assert "too large" in reasons[3][0]
    assert [told[kind]["status"] for kind in (5, 6)] == ["ok", "ok"]
    assert json.loads(told[5]["retries"]) == ["it ran longer than its time limit of 30 s"]
    assert "out of memory" in json.loads(told[6]["retries"])[0]  # a quarter of the batch did fit


def test_a_second_ctrl_c_is_sharp_and_leaves_no_process(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "50", cwd=folder)
    wait_for(folder, 2, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert not (folder / "out" / "lock.json").exists()


def test_a_second_ctrl_c_that_falls_into_a_finaliser_is_neither_lost_nor_told(capfd):
    class Handle:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def press_twice():
        with _interrupt() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert interrupted()
            handle = Handle()
            del handle
            time.sleep(5)

    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert "Traceback" not in capfd.readouterr().err
    assert sys.unraisablehook is before


def test_a_folder_that_is_gone_for_a_while_costs_nothing_but_the_while(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "9", cwd=folder)
    wait_for(folder, 2, process)
    (folder / "out").rename(folder / "away")
    time.sleep(8)  # longer than a beat of the lock, which must not make the folder anew
    assert not (folder / "out").exists()
    before = {path.name for path in (folder / "away" / "trials").glob("*.parquet")}
    assert process.poll() is None
    (folder / "away").rename(folder / "out")
    out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert "9 trials, 0 failed" in out
    assert "it is gone: it holds no space.yaml" in err
    assert "waiting for it another" in err
    assert before <= set(finished(folder))


def test_a_folder_in_use_is_refused_and_named(folder):
    process = start("sweep", "small.yaml", "--out", "out", cwd=folder)
    try:
        wait_for(folder, 1, process)
        code, _, err = run("sweep", "small.yaml", "--out", "out", cwd=folder)
        assert code == 2
        assert f"is in use by process {process.pid}" in err
    finally:
        process.communicate(timeout=100)
    assert process.returncode == 0


def test_a_folder_that_stops_taking_records_ends_the_sweep_and_loses_nothing(folder):
    args = ("--out", "out", "--trials", "30", "--patience", "3s")
    process = start("sweep", "small.yaml", *args, cwd=folder)
    wait_for(folder, 2, process)
    scores = folder / "out" / "scores"
    scores.rename(folder / "kept")
    scores.write_text("in the way")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2, err
    assert "cannot be written" in err
    assert "finished trials are safe" in err
    assert "Traceback" not in err
    scores.unlink()
    (folder / "kept").rename(scores)
    before = finished(folder)
    n = str(len(before) + 1)
    code, _, err = run("sweep", "small.yaml", "--out", "out", "--trials", n, cwd=folder)
    assert code == 0, err
    assert {name: finished(folder)[name] for name in before} == before


def test_a_torn_record_is_refused_by_name_and_left_alone(folder):
    trials = folder / "out" / "trials"
    trials.mkdir(parents=True)
    (trials / "torn.parquet").write_bytes(b"PAR1")
    code, _, err = run("sweep", "small.yaml", "--out", "out", cwd=folder)
    assert code == 2
    assert "torn.parquet is damaged or raysweep did not write it" in err
    assert (trials / "torn.parquet").exists()


LOGICAL = """
import gc, ray, raysweep
from ray.tune.experiment import Trial
from raysweep.driver import tune_hooks as tuning
kept, begin = [], tuning.Recording.on_trial_start

def counted(self, **told):
    kept.append(sum(type(x) is Trial for x in gc.get_objects()))
    begin(self, **told)

tuning.Recording.on_trial_start = counted
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
space = raysweep.load_space("small.yaml", {"resources.gpu": 0.5, "resources.cpu": 0.5})
print(raysweep.sweep(space, out="out", trials=16))
assert ray.is_initialized(), "a Ray that was here before stays"
assert len(kept) == 16 and max(kept) <= 8, f"the driver keeps trials that are over: {kept}"
"""


def test_fractions_of_a_gpu_are_scheduled_and_the_record_says_what_was_used(folder):
    process = subprocess.run(
        [sys.executable, "-c", LOGICAL], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "no GPU on this machine" not in process.stderr
    trials = load(str(folder / "out")).trials
    assert trials["status"].tolist() == ["ok"] * 16
    assert set(trials["device"]) == {"cpu"}  # Ray's GPU is logical here: torch sees none


def test_a_machine_without_a_gpu_falls_back_and_says_so_once(folder):
    args = ("--out", "out", "--trials", "2", "--set", "resources.gpu=0.25")
    code, _, err = run("sweep", "small.yaml", *args, cwd=folder)
    assert code == 0
    assert err.count("no GPU on this machine: trials run on the CPU") == 1


def test_a_time_budget_that_is_reached_is_no_failure(folder):
    args = ("sweep", "small.yaml", "--out", "out", "--trials", "500", "--time-budget", "45s")
    code, out, err = run(*args, cwd=folder)
    assert code == 0, err
    assert "out of time" in out
    assert 0 < len(finished(folder)) < 500


def test_resources_that_no_machine_has_are_refused(folder):
    code, _, err = run(
        "sweep", "small.yaml", "--out", "out", "--set", "resources.cpu=999", cwd=folder
    )
    assert code == 2
    assert "a trial takes 999 CPUs and this machine has" in err


@pytest.mark.parametrize("out", ["/proc/raysweep", "small.yaml/out"])
def test_an_out_that_cannot_be_written_is_refused(folder, out):
    code, _, err = run("sweep", "small.yaml", "--out", out, cwd=folder)
    assert code == 2
    assert "cannot be written" in err


def test_a_lock_left_by_a_dead_driver_is_taken_over(folder):
    from raysweep.driver.lock import Lock, _machine

    store = Store(str(folder))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = {"host": os.uname().nodename, "pid": dead.pid, "token": "x", "since": 0}
    holder["machine"] = _machine()
    store.folder.write_bytes(json.dumps(holder | {"heartbeat": time.time()}).encode(), "lock.json")
    with Lock(store):
        assert json.loads(store.folder.read_bytes("lock.json"))["pid"] == os.getpid()
    assert not store.folder.exists("lock.json")


def test_a_slow_redraw_takes_at_most_a_twentieth_of_the_time(monkeypatch):
    from raysweep.driver import progress as table

    monkeypatch.setattr(table, "QUIET", 0.0)
    drawn = []

    def cells(_progress, _running):
        drawn.append(time.sleep(0.05))
        return {}

    monkeypatch.setattr(table.Progress, "_cells", cells)
    progress = table.Progress(Console(file=io.StringIO()), {}, total=1, objectives=Objectives.of())
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        progress.update(1)
    assert len(drawn) == 1
    progress.update(0, force=True)
    assert len(drawn) == 2


@pytest.fixture
def held_elsewhere(folder, monkeypatch):
    """A store, and a function that lets the heart of its holder on another machine beat."""
    from raysweep.driver import lock as module

    monkeypatch.setattr(module, "BEAT", 0.2)
    monkeypatch.setattr(module, "STALE", 1.0)
    store = Store(str(folder))
    holder = {"host": "elsewhere", "pid": os.getpid(), "token": "x", "since": 0}

    def beat():
        content = json.dumps(holder | {"heartbeat": time.time()})
        store.folder.write_bytes(content.encode(), "lock.json")

    beat()
    return store, beat


def test_a_holder_on_another_host_is_alive_while_its_heart_beats(held_elsewhere):
    from raysweep.driver.lock import Lock
    from raysweep.errors import StoreBusy

    store, beat = held_elsewhere
    timer = threading.Timer(0.4, beat)
    timer.start()
    with pytest.raises(StoreBusy, match="in use by process .* on elsewhere"):
        Lock(store).__enter__()
    timer.join()


def test_a_host_that_died_is_waited_for_and_its_lock_taken_over(held_elsewhere):
    from raysweep.driver.lock import Lock
    from raysweep.errors import StoreBusy

    store, beat = held_elsewhere
    told = []
    with Lock(store, say=told.append) as lock:
        assert "is it dead? At most 1 s" in told[0]
        beat()  # it was not dead after all, and has taken the folder back
        with pytest.raises(StoreBusy):
            lock.check()
    assert store.folder.exists("lock.json")  # it is the other one's now
