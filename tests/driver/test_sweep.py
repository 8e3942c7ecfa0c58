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

import pandas as pd
import psutil
import pytest
from conftest import SMALL
from driver.sweeps import finished, run, start, wait_for_trials, wait_until
from rich.console import Console

from raysweep.driver import lock as lock_module
from raysweep.driver import progress as progress_module
from raysweep.driver.interrupts import catch_interrupts
from raysweep.driver.lock import Lock, machine_id
from raysweep.errors import StoreBusy
from raysweep.records.objectives import Objectives
from raysweep.records.results import load
from raysweep.records.store import Store

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def test_a_sweep_runs_continues_and_refuses_a_changed_space(folder, call):
    code, out, err = run("sweep", "small.yaml", "--out", "out", cwd=folder)
    assert code == 0, err
    assert "The front: no trial beats these" in out
    assert "5 trials, 0 failed" in out
    assert (folder / "out" / "front.png").stat().st_size > 10_000
    first = finished(folder / "out")
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
    assert {name: finished(folder / "out")[name] for name in first} == first

    changed = ("--set", "training.epochs=9")
    code, _, err = call("sweep", "small.yaml", "--out", "out", *changed)
    assert code == 2
    assert "holds another sweep" in err
    assert "training.epochs: 4 -> 9" in err

    code, out, err = call("best", "out", "--where", "accuracy >= 0.1")
    assert code == 0, err
    (folder / "best.yaml").write_text(out)
    code, out, err = call("trial", "best.yaml", "--json")
    assert code == 0, err
    again = json.loads(out)["trial"]
    row = results.trials.set_index("trial_id").loc[again["trial_id"]]
    assert again["accuracy"] == row["accuracy"]
    assert again["attack_auc"] == pytest.approx(row["attack_auc"])

    code, out, err = call("best", "out", "--json", "--out", "best.json")
    assert (code, out) == (0, ""), err
    assert json.loads((folder / "best.json").read_text())["space"]["search"] == {}
    code, out, err = call("status", "out", "--json")
    state = json.loads(out)
    assert (code, state["trials"], state["ok"], state["driver"]) == (0, 7, 7, None), err
    where = ("--where", "dropout > 0", "--where", "accuracy >= 0.1")
    code, out, err = call("front", "out", *where, "--out", "front.csv")
    assert (code, out) == (0, ""), err
    assert (pd.read_csv(folder / "front.csv")["dropout"] > 0).all()


def test_a_time_budget_that_ends_before_any_trial_is_no_success(folder):
    code, out, err = run("sweep", "small.yaml", "--out", "none", "--time-budget", "1s", cwd=folder)
    assert code == 1, err
    assert "out of time before the first trial ended" in out
    assert "Traceback" not in err


def test_a_killed_driver_loses_no_trial_and_runs_none_twice(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    wait_for_trials(folder / "out", 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished(folder / "out")
    assert 3 <= len(before) < 8
    attacks = folder / "out" / "attacks"
    shutil.copy(next(attacks.glob("*.parquet")), attacks / f"{'f' * 16}.parquet")  # it had begun
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    assert code == 0, err
    assert "8 trials, 0 failed" in out
    after = finished(folder / "out")
    assert len(after) == 8
    assert {name: after[name] for name in before} == before
    numbers = load(str(folder / "out")).trials["number"].tolist()
    assert numbers == list(range(8))
    assert {file.name for file in attacks.iterdir()} == after.keys()


def test_ctrl_c_stops_cleanly_and_the_same_command_continues(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    wait_for_trials(folder / "out", 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert "the same command continues" in out
    assert "Traceback" not in err
    assert not (folder / "out" / "lock.json").exists()
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "8", cwd=folder)
    assert code == 0, err
    assert "8 trials, 0 failed" in out


def test_a_pruned_sweep_continues_after_a_kill_and_refuses_other_pruning(folder, call):
    block = "pruning: {grace_epochs: 1, reduction_factor: 2}"
    text = SMALL.replace("sampler:", f"{block}\nsampler:")
    (folder / "small.yaml").write_text(text)
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "16", cwd=folder)
    wait_for_trials(folder / "out", 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished(folder / "out")
    code, out, err = run("sweep", "small.yaml", "--out", "out", "--trials", "16", cwd=folder)
    assert code == 0, err
    assert {name: finished(folder / "out")[name] for name in before} == before
    results = load(str(folder / "out"))
    trials, epochs = results.trials, results.epochs
    pruned = trials[trials["status"] == "pruned"]
    assert set(trials["status"]) == {"ok", "pruned"}
    assert f"{16 - len(pruned)} trials, {len(pruned)} pruned, 0 failed" in out
    assert (trials["number"].tolist(), trials["status"].iloc[0]) == (list(range(16)), "ok")
    lengths = epochs.groupby("trial_id")["epoch"].max()
    assert lengths[pruned["trial_id"]].tolist() == pruned["stopped_epoch"].tolist()
    assert (lengths[trials.loc[trials["status"] == "ok", "trial_id"]] == 4).all()
    assert epochs["tail"].notna().equals(epochs["epoch"] <= 2)
    private = pruned[pruned["target_epsilon"] < float("inf")]
    assert (private["epsilon"] < private["target_epsilon"]).all()
    assert not set(pruned["trial_id"]) & set(results.attacks["trial_id"])
    assert not set(pruned["trial_id"]) & set(results.front()["trial_id"])

    changed = ("--set", "pruning.reduction_factor=3")
    code, _, err = call("sweep", "small.yaml", "--out", "out", *changed)
    assert code == 2
    assert "pruning.reduction_factor: 2.0 -> 3.0" in err


TROUBLE = """
import os, resource, signal, time
import torch
from torch import nn

class Trouble(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.calls, self.output = kind, 0, nn.Linear(64, 10)
    def forward(self, x):
        self.calls += self.training
        in_trouble = self.training and self.calls > 20  # preflight takes fewer steps
        if in_trouble and self.kind == 1:
            raise RuntimeError("the user's own mistake")
        if in_trouble and self.kind == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if in_trouble and self.kind == 3:
            raise MemoryError("too large")
        if in_trouble and self.kind == 5 and not os.path.exists("hung"):
            open("hung", "w").close()
            time.sleep(1000)
        if in_trouble and self.kind == 6:  # a GiB an example, never touched: real refusals
            size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (size + 8 * 2**30, hard))
            try:
                torch.empty(len(x) * 2**28)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        z = self.output(x.flatten(1))
        return z * float("nan") if in_trouble and self.kind == 4 else z

def trouble(shape, n_classes, kind=0):
    return Trouble(kind)
"""


def test_failed_trials_are_recorded_with_their_reasons_and_the_sweep_goes_on(folder):
    (folder / "trouble.py").write_text(TROUBLE)
    text = SMALL.replace("{name: mlp, hidden: [32], activation: tanh}", "{name: 'trouble:trouble'}")
    begin, end = text.index("search:"), text.index("attacks:")
    text = f"{text[:begin]}search: {{model.kind: {{values: [0, 1, 2, 3, 4, 5, 6]}}}}\n{text[end:]}"
    text += "resources: {cpu: 1, time_limit: 60s}\n"  # a worker that starts anew takes half of it
    (folder / "trouble.yaml").write_text(text.replace("name: random", "name: grid"))
    code, _out, err = run("sweep", "trouble.yaml", "--out", "out", "--trials", "8", cwd=folder)
    assert code == 1, err
    trials = load(str(folder / "out")).trials.set_index("number")
    kinds = {json.loads(c)["model"].get("kind", 0): i for i, c in trials["config"].items()}
    rows = {kind: trials.loc[number] for kind, number in kinds.items()}
    assert rows[0]["status"] == "ok"
    assert [rows[kind]["status"] for kind in (1, 2, 3, 4)] == ["failed"] * 4
    assert "the user's own mistake" in rows[1]["error"]
    assert "died" in rows[2]["error"]
    assert "too large" in rows[3]["error"]
    assert "the loss of epoch 3 is nan" in rows[4]["error"]
    assert [rows[kind]["attempts"] for kind in (1, 2, 3, 4)] == [1, 4, 2, 1]
    retries = {kind: row["retries"] if row["attempts"] > 1 else "[]" for kind, row in rows.items()}
    reasons = {kind: json.loads(retries[kind]) for kind in (1, 2, 3, 4)}
    assert [len(reasons[kind]) for kind in (1, 2, 3, 4)] == [0, 3, 1, 0]
    assert all("died" in reason for reason in reasons[2])
    assert "too large" in reasons[3][0]
    assert [rows[kind]["status"] for kind in (5, 6)] == ["ok", "ok"]
    assert json.loads(rows[5]["retries"]) == ["it ran longer than its time limit of 60 s"]
    assert "out of memory" in json.loads(rows[6]["retries"])[0]  # a quarter of the batch did fit


def test_a_second_ctrl_c_ends_at_once_and_leaves_no_process(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", "50", cwd=folder)
    wait_for_trials(folder / "out", 2, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert not (folder / "out" / "lock.json").exists()


def test_a_second_ctrl_c_during_a_finaliser_is_raised_and_not_printed(capfd):
    class Handle:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def press_twice():
        with catch_interrupts() as interrupted:
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


def test_a_sweep_waits_for_a_results_folder_that_is_gone_for_a_while(folder):
    said = folder / "err.txt"
    with said.open("w") as log:
        process = start(
            "sweep", "small.yaml", "--out", "out", "--trials", "9", cwd=folder, stderr=log
        )
    wait_for_trials(folder / "out", 2, process)
    (folder / "out").rename(folder / "away")
    time.sleep(8)  # longer than a heartbeat of the lock, which must not make the folder again
    wait_until(lambda: "it is gone: it holds no space" in said.read_text(), process, seconds=200)
    assert not (folder / "out").exists()
    before = {path.name for path in (folder / "away" / "trials").glob("*.parquet")}
    assert process.poll() is None
    (folder / "away").rename(folder / "out")
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said.read_text()
    assert "9 trials, 0 failed" in out
    assert "waiting for it another" in said.read_text()
    assert before <= set(finished(folder / "out"))


def test_a_results_folder_in_use_is_refused_with_the_process_number(folder):
    process = start("sweep", "small.yaml", "--out", "out", "--trials", 500, cwd=folder)
    try:
        wait_for_trials(folder / "out", 1, process)
        code, _, err = run("sweep", "small.yaml", "--out", "out", cwd=folder)
        assert code == 2
        assert f"is in use by process {process.pid}" in err
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 130


def test_a_sweep_ends_without_loss_when_the_folder_takes_no_records_for_too_long(folder):
    args = ("--out", "out", "--trials", "30", "--patience", "3s")
    process = start("sweep", "small.yaml", *args, cwd=folder)
    wait_for_trials(folder / "out", 2, process)
    scores = folder / "out" / "scores"
    scores.rename(folder / "kept")
    scores.write_text("in the way")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert "cannot be written" in err
    assert "finished trials are safe" in err
    assert "Traceback" not in err
    scores.unlink()
    (folder / "kept").rename(scores)
    before = finished(folder / "out")
    n = str(len(before) + 1)
    code, _, err = run("sweep", "small.yaml", "--out", "out", "--trials", n, cwd=folder)
    assert code == 0, err
    assert {name: finished(folder / "out")[name] for name in before} == before


def test_a_torn_record_is_named_and_not_removed(folder, call):
    trials = folder / "out" / "trials"
    trials.mkdir(parents=True)
    (trials / "torn.parquet").write_bytes(b"PAR1")
    code, _, err = call("sweep", "small.yaml", "--out", "out")
    assert code == 2
    assert "torn.parquet is damaged or raysweep did not write it" in err
    assert (trials / "torn.parquet").exists()


LOGICAL = """
import gc, ray, raysweep
from ray.tune.experiment import Trial
from raysweep.driver import tune_hooks
kept, begin = [], tune_hooks.RecordCallback.on_trial_start

def counted(self, **arguments):
    kept.append(sum(type(x) is Trial for x in gc.get_objects()))
    begin(self, **arguments)

tune_hooks.RecordCallback.on_trial_start = counted
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
space = raysweep.load_space("small.yaml", {"resources.gpu": 0.5, "resources.cpu": 0.5})
print(raysweep.sweep(space, out="out", trials=16))
assert ray.is_initialized(), "a Ray that was here before stays"
assert len(kept) == 16 and max(kept) <= 8, f"the driver keeps trials that are over: {kept}"
"""


def test_fractions_of_a_gpu_are_scheduled_and_the_record_names_the_device(folder):
    process = subprocess.run(
        [sys.executable, "-c", LOGICAL], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "no GPU on this machine" not in process.stderr
    trials = load(str(folder / "out")).trials
    assert trials["status"].tolist() == ["ok"] * 16
    assert set(trials["device"]) == {"cpu"}  # Ray's GPU is logical here: torch sees none


def test_without_a_gpu_trials_run_and_reaching_the_time_budget_is_no_failure(folder):
    sweep = ("sweep", "small.yaml", "--out", "out", "--set", "resources.gpu=0.25")
    code, _, err = run(*sweep, "--trials", "1", cwd=folder)  # however slow the machine is
    assert code == 0, err
    assert err.count("no GPU on this machine: trials run on the CPU") == 1

    code, out, err = run(*sweep, "--trials", "500", "--time-budget", "12s", cwd=folder)
    assert code == 0, err
    assert "out of time" in out
    assert 0 < len(finished(folder / "out")) < 500


def test_more_cpus_than_the_machine_has_are_refused(folder):
    code, _, err = run(
        "sweep", "small.yaml", "--out", "out", "--set", "resources.cpu=999", cwd=folder
    )
    assert code == 2
    assert "a trial takes CPU 999 and this machine has" in err


@pytest.mark.parametrize("out", ["/proc/raysweep", "small.yaml/out"])
def test_an_out_that_cannot_be_written_is_refused(call, out):
    code, _, err = call("sweep", "small.yaml", "--out", out)
    assert code == 2
    assert "cannot be written" in err


def test_a_lock_left_by_a_dead_driver_is_taken_over(folder):
    store = Store(str(folder))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = {"host": os.uname().nodename, "pid": dead.pid, "token": "x", "since": 0}
    holder["machine"] = machine_id()
    store.folder.write_bytes(json.dumps(holder | {"heartbeat": time.time()}).encode(), "lock.json")
    with Lock(store):
        assert json.loads(store.folder.read_bytes("lock.json"))["pid"] == os.getpid()
    assert not store.folder.exists("lock.json")


def test_redrawing_takes_at_most_a_twentieth_of_the_time(monkeypatch):
    monkeypatch.setattr(progress_module, "LINE_INTERVAL", 0.0)
    drawn = []

    def cells(_progress, _running):
        drawn.append(time.sleep(0.05))
        return {}

    monkeypatch.setattr(progress_module.Progress, "_cells", cells)
    progress = progress_module.Progress(
        Console(file=io.StringIO()), {}, total=1, objectives=Objectives.of()
    )
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        progress.update(1)
    assert len(drawn) == 1
    progress.update(0, force=True)
    assert len(drawn) == 2


def test_the_clock_counts_from_the_start_of_the_command():
    shown = io.StringIO()
    began = time.monotonic() - 79
    progress = progress_module.Progress(
        Console(file=shown, width=300), {}, total=1, objectives=Objectives.of(), began=began
    )
    progress.update(1)
    assert "elapsed 1 min 19 s" in shown.getvalue()


@pytest.fixture
def held_elsewhere(folder, monkeypatch):
    """A store, and a function that writes a heartbeat of its holder on another machine."""
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.2)
    monkeypatch.setattr(lock_module, "STALE", 1.0)
    store = Store(str(folder))
    holder = {"host": "elsewhere", "pid": os.getpid(), "token": "x", "since": 0}

    def beat():
        content = json.dumps(holder | {"heartbeat": time.time()})
        store.folder.write_bytes(content.encode(), "lock.json")

    beat()
    return store, beat


def test_a_holder_on_another_host_is_alive_while_its_heartbeat_changes(held_elsewhere):
    store, beat = held_elsewhere
    timer = threading.Timer(0.4, beat)
    timer.start()
    with pytest.raises(StoreBusy, match="in use by process .* on elsewhere"):
        Lock(store).__enter__()
    timer.join()


def test_the_lock_of_a_dead_host_is_taken_over_after_a_wait(held_elsewhere):
    store, beat = held_elsewhere
    messages = []
    with Lock(store, say=messages.append) as lock:
        assert "waiting at most 1 s for its next heartbeat" in messages[0]
        beat()  # it was alive after all, and has taken the folder back
        with pytest.raises(StoreBusy):
            lock.check()
    assert store.folder.exists("lock.json")  # now the other driver holds it
