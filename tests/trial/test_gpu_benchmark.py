"""The benchmark of a GPU runs to its end on a CPU, and compares what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu

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
    assert found["packed"]["mlp_4"]["times_as_fast"] > 0
    assert found["packed"]["thesis_cnn_4"]["times_as_fast"] > 0
    assert not found["packed"]["thesis_cnn_4"]["is_chosen"]  # on a CPU, for its size
    assert found["sweeps"]["at_once"]["2"]["trials_per_minute"] > 0


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--device", "cuda"])
    assert ended.value.code == 2
    assert "torch finds no GPU" in capsys.readouterr().err
