"""The examples train and attack as their pages say."""

import importlib
import shutil
from pathlib import Path

import pytest
from driver.sweeps import run

import raysweep
from raysweep import testing

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


@pytest.mark.slow
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


def test_an_attack_of_your_own_is_judged_beside_one_of_raysweep(run_example):
    result = run_example(
        "own_attack", {"dropout": 0.3, "attacks.membership.own_attack:Margin.runners_up": 1}
    )
    aucs = {record.attack: record.auc for record in result.attacks if record.family == "membership"}
    assert aucs.keys() == {"max_posterior", "own_attack:Margin"}
    assert 0.4 < aucs["own_attack:Margin"] < 0.6  # after three epochs there is little to find
    assert {record.parameters for record in result.attacks} == {"{}", '{"runners_up": 1}'}


def test_a_defence_of_your_own_changes_the_training(run_example):
    key = "own_defence:ConfidencePenalty"
    plain, defended = (run_example("own_defence", {key: weight}).trial for weight in (0, 2))
    assert defended.defences[key] == 2.0
    assert (
        plain.train_accuracy != defended.train_accuracy or plain.attack_auc != defended.attack_auc
    )


@pytest.mark.slow
def test_the_classes_of_the_examples_keep_the_contracts(monkeypatch):
    for name in ("own_attack", "own_defence"):
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
    testing.check_attack(importlib.import_module("own_attack").Margin)
    testing.check_defence(importlib.import_module("own_defence").ConfidencePenalty)


def test_the_functions_of_the_examples_keep_the_contracts(monkeypatch):
    for name in ("own_model", "own_data"):
        monkeypatch.syspath_prepend(str(EXAMPLES / name))
    testing.check_model(importlib.import_module("network").residual_network, private=True)
    testing.check_data(importlib.import_module("digits_to_tell_apart").load, classes=[3, 8])


@pytest.mark.ray
def test_a_defence_of_your_own_is_swept_by_ray_workers(tmp_path):
    for name in ("own_defence.py", "own_defence.yaml"):
        shutil.copy(EXAMPLES / "own_defence" / name, tmp_path)
    short = ["--trials", "3", "--set", "training.epochs=2", "--set", "sampler.name=random"]
    code, out, err = run("sweep", "own_defence.yaml", *short, cwd=tmp_path)
    assert code == 0, out + err
    trials = raysweep.load(str(tmp_path / "results" / "own_defence")).trials
    assert trials["status"].tolist() == ["ok"] * 3
    assert trials["own_defence:ConfidencePenalty"].nunique() > 1
