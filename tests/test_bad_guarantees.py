"""Wrong input about a guarantee, each by the command line: one message and exit code 2."""

import json
import os
import sys

import pytest
import yaml
from safetensors.torch import save_file
from torch import zeros

from raysweep import cli

SPACE = {
    "name": "bad",
    "dataset": {
        "name": "digits",
        "members": 60,
        "nonmembers": 60,
        "pool": 60,
        "validation": 60,
        "test": 60,
    },
    "model": {"name": "softmax"},
    "training": {"epochs": 1, "private": {"batch_size": 30, "learning_rate": 1.0}},
    "defences": {"target_epsilon": 4},
    "attacks": {"membership": ["loss"]},
    "objectives": {"accuracy": "max", "attack_auc": "min"},
}

OWN = """\
import numpy as np
import torch
from torch import nn

BUILT = []


def groups(size=5):
    rng = np.random.default_rng(0)
    return rng.random((300, 4)).astype("float32"), rng.integers(0, 2, 300), np.arange(300) // size


def another_each_time(shape, n_classes):
    BUILT.append(None)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3 + len(BUILT)), nn.LazyLinear(n_classes))


KEPT = torch.zeros(10, 64)


def with_kept_weights(shape, n_classes):
    linear = nn.Linear(64, n_classes)
    linear.weight = nn.Parameter(KEPT)
    return nn.Sequential(nn.Flatten(), linear)


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


def with_state(shape, n_classes):
    return nn.Sequential(nn.Flatten(), Extra(64, n_classes))
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Return what runs a command in a folder with a space and modules of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"own_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(OWN)

    def run(*arguments, **blocks):
        text = yaml.safe_dump({**SPACE, **blocks}).replace("OWN", name)
        (tmp_path / "space.yaml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["raysweep", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return end.value.code, told.out, told.err

    return run


TRIAL = ("trial", "space.yaml")


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (
            {"defences": {"target_epsilon": 4, "delta": 0.02}},
            "`delta` must be below 1 / members = 0.017, got 0.02; lower delta",
        ),
        (
            {"training": {"private": {"expected_batch": 61, "sample_rate": 0.5}}},
            "`training.private.expected_batch` must be at most the members, 60, got 61",
        ),
        (
            {"training": {"private": {"expected_batch": 0, "sample_rate": 0.5}}},
            "expected_batch` must be greater than 0, got 0",
        ),
        ({"training": {"private": {"expected_batch": 30}}}, "sample_rate"),
        (
            {"dataset": {"name": "OWN:groups", "records_per_group": 0}},
            "`dataset.records_per_group` must be greater than or equal to 1, got 0",
        ),
        (
            {"dataset": {**SPACE["dataset"], "name": "OWN:groups", "records_per_group": 2}},
            "and the data set with records_per_group 2 has 120",
        ),
        ({"model": {"name": "OWN:another_each_time"}}, "is another one when it is built again"),
        ({"model": {"name": "OWN:with_kept_weights"}}, "keeps '1.weight' in the same memory"),
    ],
)
def test_wrong_settings_are_refused_with_value_and_remedy(call, blocks, words):
    code, _, told = call(*TRIAL, "--save", "m.safetensors", **blocks)
    assert (code, words in told) == (2, True), told
    assert not os.path.exists("m.safetensors")


def test_records_above_the_cap_of_a_group_are_left_out_and_counted(call):
    sizes = {"members": 40, "nonmembers": 20, "pool": 10, "validation": 20, "test": 10}
    dataset = {"name": "OWN:groups", "records_per_group": 2, **sizes}
    code, out, told = call(*TRIAL, "--json", dataset=dataset, attacks={"membership": ["loss"]})
    assert code == 0, told
    assert json.loads(out)["trial"]["group_records"] == 2
    assert "180" in told


def test_a_model_whose_state_is_more_than_tensors_is_not_saved(call):
    code, _, told = call(*TRIAL, "--save", "m.safetensors", model={"name": "OWN:with_state"})
    assert (code, "the model cannot be rebuilt from a file" in told) == (2, True), told


def test_a_foreign_file_of_weights_is_no_model(call):
    save_file({"weight": zeros(3)}, "foreign.safetensors")
    code, _, told = call("load", "foreign.safetensors")
    assert (code, "the model or its card foreign.json cannot be read" in told) == (2, True)
    with open("foreign.json", "w") as card:
        card.write("[1]")
    code, _, told = call("load", "foreign.safetensors")
    assert (code, "this is no card of a model" in told) == (2, True)


def test_weights_are_not_saved_where_they_did_not_move(call):
    training = {"epochs": 1, "private": {"batch_size": 30, "learning_rate": 1e-30}}
    code, _, told = call(*TRIAL, "--save", "m.safetensors", training=training)
    assert (code, "no weight of the model has moved" in told) == (2, True), told


def test_secure_noise_without_dp_is_refused(call):
    code, _, told = call(*TRIAL, "--secure-noise", defences={})
    assert (code, "this configuration has none" in told) == (2, True)


def test_a_selftest_without_a_private_step_says_so(call):
    code, _, told = call("selftest", "space.yaml", "--at", "target_epsilon=.inf")
    assert (code, "this configuration has none" in told) == (2, True)
