"""The examples train and attack as their pages say."""

import runpy
from pathlib import Path

import pytest

import raysweep
from raysweep.attacks import MEMBERSHIP

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(monkeypatch):
    """Return a function that runs one short trial of an example, in its own folder."""

    def run(name, values):
        monkeypatch.chdir(EXAMPLES / name)
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
        space = raysweep.load_space(f"{name}.yaml", {"training.epochs": 3})
        return raysweep.run_trial(space.config(values))

    return run


def test_a_network_of_your_own_is_trained_and_attacked(run_example):
    result = run_example("own_model", {"dropout": 0.3, "model.width": 32})
    assert result.trial.model == "network:residual_network"
    assert result.trial.accuracy > 0.3
    assert {record.layer for record in result.attacks} == {None, "hidden", "output"}


def test_data_of_your_own_are_dealt_and_attacked(run_example):
    trial = run_example("own_data", {"dropout": 0.3}).trial
    assert trial.dataset == "digits_to_tell_apart:load"
    assert (trial.n_classes, trial.n_members) == (4, 240)
    assert trial.accuracy > 0.5


def test_an_attack_of_your_own_is_judged_beside_one_of_raysweep(monkeypatch, capsys):
    monkeypatch.setitem(MEMBERSHIP, "margin", None)  # the entry goes again after the test
    runpy.run_path(str(EXAMPLES / "own_attack" / "own_attack.py"), run_name="__main__")

    lines = capsys.readouterr().out.splitlines()
    attacks = ["max_posterior", "margin"]
    names = [line.split(":")[0].strip() for line in lines]
    assert names == ["dropout 0.0", *attacks, "dropout 0.5", *attacks]
    undefended_auc = float(lines[2].split("AUC ")[1].split()[0])
    assert undefended_auc > 0.5
