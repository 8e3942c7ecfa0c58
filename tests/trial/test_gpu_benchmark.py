"""The benchmark of a GPU runs to its end on a CPU, and compares what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_packed
from raysweep.config import Training
from raysweep.models import MODELS
from raysweep.training import packing
from raysweep.training.recipe import plain_recipe

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_to_its_end_on_a_cpu():
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    *table, last = done.stdout.splitlines()
    found = json.loads(last)
    assert list(found) == ["device", "card", *gpu.PARTS, "machine"]
    assert len(table) > 20

    for figures in (found["figures"]["undefended"], found["figures"]["private"]):
        assert all(figure["agree"] for figure in figures.values())
    assert 7.9 < found["figures"]["private"]["epsilon"]["device"] <= 8

    assert found["step"]["thesis_cnn_fp32"]["relative_error_of_sum"] < 1e-5
    assert found["packed"]["mlp_1"]["models_alone"] == 1
    assert found["packed"]["mlp_4"]["times_as_fast"] > 0
    assert found["packed"]["thesis_cnn_4"]["times_as_fast"] > 0
    assert not found["packed"]["thesis_cnn_4"]["is_chosen"]  # on a CPU, for its size
    assert found["packed"]["mlp_4"]["seconds_a_model_of_a_sweep"] > 0

    sweeps = found["sweeps"]
    for rate in ("trials_per_minute", "trainings_per_minute"):
        assert sweeps["at_once"]["2"][rate] > 0
    assert sweeps["packed_in_one_process"]["trainings_per_minute"] > 0
    assert sweeps["at_once"]["2"]["failed"] == 0
    done = {"status": "ok", "error": None, "attempts": 1, "retries": None}
    assert found["memory"]["lack"] == done  # a CPU's memory is not shared out


def test_a_lack_of_memory_for_all_at_once_is_told_and_the_rest_measured(splits, cpu, monkeypatch):
    def fail(packing):
        raise torch.OutOfMemoryError("no memory")

    training = Training(epochs=1, batch_size=50)
    recipe = plain_recipe(MODELS["mlp"](hidden=(8,)).build, training)
    members = [splits.members] * 3
    monkeypatch.setattr(packing.Packing, "train", fail)
    with pytest.raises(torch.OutOfMemoryError):
        gpu_packed.Packing(recipe, members, range(3), cpu).train()
    found = gpu_packed.pack(recipe, members, cpu)
    assert found["reason"] == "the memory is too small for all at once"
    assert found["seconds_a_model_of_a_sweep"] > 0


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--device", "cuda"])
    assert ended.value.code == 2
    assert "torch finds no GPU" in capsys.readouterr().err
