"""Sweeps on full disks, without memory and without Ray."""

import json
import os
import subprocess

import psutil
import pytest
from conftest import SMALL
from driver.sweeps import finished, run, start, wait_for_trials

from raysweep.driver.worker_environment import worker_environment
from raysweep.records.results import load
from raysweep.space.parsing import parse_space

pytestmark = pytest.mark.timeout(900)  # of a slow and busy machine; some 60 s each


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def mount(*options):
    return subprocess.run(
        ["mount", *map(str, options)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def disk(folder):
    """A disk of 400 KiB, and a function that changes how it is mounted."""
    out = folder / "out"
    out.mkdir()
    done = mount("-t", "tmpfs", "-o", "size=400k", "disk", out)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")

    def remount(options):
        assert mount("-o", f"remount,{options}", out).returncode == 0

    yield remount
    subprocess.run(["umount", "--lazy", out], check=True)


def wait_for_text(process, text):
    """Read the messages of a sweep until one contains ``text``."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("".join(lines))


def test_a_sweep_waits_for_a_full_or_read_only_disk_and_runs_a_torn_trial_again(folder, disk):
    args = ("sweep", "small.yaml", "--out", "out", "--trials", "30")
    process = start(*args, cwd=folder)
    wait_for_text(process, "No space left on device")
    before = finished(folder / "out")
    disk("size=50m")
    wait_for_trials(folder / "out", len(before) + 3, process)
    disk("ro")
    wait_for_text(process, "Read-only file system")
    disk("rw")
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "30 trials, 0 failed" in out
    after = finished(folder / "out")
    assert {name: after[name] for name in before} == before
    front = load(str(folder / "out")).front()

    torn = sorted((folder / "out" / "trials").glob("*.parquet"))[7]
    torn.write_bytes(torn.read_bytes()[:-100])
    code, _, err = run(*args, cwd=folder)
    assert code == 2
    assert f"{torn.name} is damaged" in err
    torn.unlink()
    code, _, err = run(*args, cwd=folder)
    assert code == 0, err
    again = finished(folder / "out")
    assert {name for name in again if again[name] != after[name]} == {torn.name}
    assert load(str(folder / "out")).front()["trial_id"].tolist() == front["trial_id"].tolist()


MEMORY_HOG = """
import torch
from torch import nn

class Hog(nn.Module):
    def __init__(self, is_greedy):
        super().__init__()
        self.is_greedy, self.calls, self.output = is_greedy, 0, nn.Linear(64, 10)
    def forward(self, x):
        taken = []
        self.calls += self.training
        in_training = self.calls > 20  # preflight takes fewer steps, in the driver
        while in_training and self.is_greedy and len(taken) < 100:
            taken.append(torch.ones(2**24))  # 64 MiB
        return self.output(x.flatten(1))

def hog(shape, n_classes, is_greedy=False):
    return Hog(is_greedy)
"""


def test_a_trial_that_uses_all_memory_is_killed_and_recorded_and_the_sweep_goes_on(
    folder,
    monkeypatch,
):
    (folder / "hog.py").write_text(MEMORY_HOG)
    text = SMALL.replace("{name: mlp, hidden: [32], activation: tanh}", "{name: 'hog:hog'}")
    begin, end = text.index("search:"), text.index("attacks:")
    text = f"{text[:begin]}search: {{model.is_greedy: {{values: [true]}}}}\n{text[end:]}"
    (folder / "hog.yaml").write_text(text.replace("name: random", "name: grid"))
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + 4 * 2**30) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    code, out, err = run("sweep", "hog.yaml", "--out", "out", cwd=folder)
    assert (code, "1 trial, 1 failed" in out) == (1, True), err
    last = load(str(folder / "out")).trials.set_index("number").loc[1]
    assert "its machine failed 2 times" in last["error"]
    assert "killed due to the node running low on memory" in last["error"]
    assert "killed due to the node running low on memory" in json.loads(last["retries"])[0]


def test_a_ray_that_does_not_answer_or_start_gives_one_message(folder, monkeypatch):
    sweep = ("sweep", "small.yaml", "--out", "out")
    code, _, err = run(*sweep, "--address", "127.0.0.1:1", cwd=folder)
    assert (code, "there is no Ray cluster at '127.0.0.1:1'" in err) == (2, True), err
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nowhere")
    code, _, err = run(*sweep, cwd=folder)
    assert (code, "Ray does not start on this machine" in err) == (2, True), err
    assert not (folder / "out" / "lock.json").exists()


def test_the_python_files_of_the_user_are_copied_and_nothing_else(tmp_path, monkeypatch):
    mine, library = tmp_path / "mine", tmp_path / "library"
    own = ["model.py", "pkg/__init__.py", "pkg/deep/part.py"]
    others = ["data.csv", "raw-images", "results/x/y.py", ".venv/z.py", "pkg/__pycache__/p.pyc"]
    for name in (*own, *others):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("mine")
    library.mkdir()
    for name in ("helper.py", "model.py"):
        (library / name).write_text("library's")
    monkeypatch.chdir(mine)
    monkeypatch.setenv("PYTHONPATH", str(library))
    space = parse_space(SMALL, "small.yaml")
    with worker_environment(space, elsewhere=True) as found:
        assert "working_dir" not in found
    space = parse_space(f"{SMALL}scenarios: {{mine: {{model.name: 'model:f'}}}}\n", "small.yaml")
    with worker_environment(space, elsewhere=False) as found:
        assert "working_dir" not in found
    with worker_environment(space, elsewhere=True) as found:
        assert found["env_vars"]["RAYSWEEP_MODULES"] == "code_of_the_user"
        root = f"{found['working_dir']}/code_of_the_user"
        travels = [
            os.path.relpath(os.path.join(place, name), root)
            for place, _, names in os.walk(root)
            for name in names
        ]
        assert sorted(travels) == sorted([*own, "helper.py"])
        with open(f"{root}/model.py") as file:
            assert file.read() == "mine"
    assert not os.path.exists(root)


DIES_ON_THE_WAY = """
import os, pathlib, signal
from ray.tune.trainable.function_trainable import FunctionTrainable
from torch import nn

hand_over = FunctionTrainable.reset_config

def dying(self, config):
    if not os.path.exists("{note}"):
        pathlib.Path("{note}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return hand_over(self, config)

FunctionTrainable.reset_config = dying

def model(shape, n_classes):
    layers = nn.Sequential(nn.Flatten())
    layers.add_module("output", nn.Linear(64, n_classes))
    return layers
"""


def test_a_worker_that_dies_while_it_takes_a_trial_costs_that_trial_an_attempt(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder))  # Ray imports the module to read the trainable
    (folder / "on_the_way.py").write_text(DIES_ON_THE_WAY.replace("{note}", str(folder / "note")))
    text = SMALL.replace("name: mlp, hidden: [32], activation: tanh", "name: 'on_the_way:model'")
    text = text.replace("  dropout: {low: 0.0, high: 0.5}", "  l2: {low: 1e-5, high: 1e-1}")
    text = text.replace("{activation_decoder: {decoders: [ridge]}}", "{}")
    text += "objectives: {accuracy: max, attack_auc: min}\n"
    (folder / "small.yaml").write_text(text)
    args = ("--out", "out", "--trials", "4", "--max-concurrent", "1")
    code, out, err = run("sweep", "small.yaml", *args, cwd=folder)
    assert code == 0, err
    assert "4 trials, 0 failed" in out
    assert "a trial is tried again: " in out + err
    assert (folder / "note").exists()
    trials = load(str(folder / "out")).trials
    assert sorted(trials["attempts"]) == [1, 1, 1, 2]
    assert "died" in trials.loc[trials["attempts"] == 2, "retries"].item()


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_ray_that_dies_ends_the_sweep_with_one_message_and_the_same_command_continues(
    folder, part
):
    args = ("sweep", "small.yaml", "--out", "out", "--trials")
    process = start(*args, "200", cwd=folder)
    wait_for_trials(folder / "out", 2, process)
    children = psutil.Process(process.pid).children()
    next(child for child in children if child.name() == part).kill()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2, err
    last = err.splitlines()[-1]
    assert last.startswith(f"error: Ray on this machine has died (its process {part}); give the")
    before = finished(folder / "out")
    code, out, err = run(*args, str(len(before) + 1), cwd=folder)
    assert (code, f"{len(before) + 1} trials, 0 failed" in out) == (0, True), err
    assert before.items() <= finished(folder / "out").items()
