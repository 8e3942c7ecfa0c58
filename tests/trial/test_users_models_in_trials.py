"""What a user's model function may do wrong is told before training, or fails by name."""

import sys

import pytest

from raysweep import data
from raysweep.errors import ModelError, NotFinite, PrivacyError
from raysweep.space.parsing import parse_space
from raysweep.trial import preflight
from raysweep.trial.run import run_trial

SPACE = """\
name: users
dataset: {name: digits, members: 97, nonmembers: 60, pool: 200, validation: 100, test: 100}
model: {name: "users_own:%s"}
training: {batch_size: 32, epochs: 1}
defences: {%s}
attacks: {membership: [loss]}
objectives: {accuracy: max, attack_auc: min}
"""

MODULE = """\
import torch
from torch import nn

def flat(n, *layers):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *layers, nn.Linear(16, n))

def plain(shape, n):
    return flat(n, nn.Tanh())

one = flat(10, nn.Tanh())

def the_same(shape, n):
    return one

def part_of_the_same(shape, n):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), one[3])

def frozen(shape, n):
    return flat(n).requires_grad_(False)

class NoGrad(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = flat(10)

    def forward(self, x):
        with torch.no_grad():
            return self.inner(x)

def without_gradients(shape, n):
    return NoGrad()

def batch_norm(shape, n):
    return flat(n, nn.BatchNorm1d(16))

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = flat(10)

    def forward(self, x):
        if self.training:
            x = x.flatten(1) @ x.flatten(1)
        return self.inner(x)

def broken(shape, n):
    return Broken()

class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.extra = flat(10), nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(x)

def unused_last(shape, n):
    return Unused()

class Dark(nn.Module):
    '''Not a number for pictures with a dark pixel.'''

    def __init__(self):
        super().__init__()
        self.inner = flat(10)

    def forward(self, x):
        x = x.flatten(1)
        logits = self.inner(x)
        return logits + (0 / x[:, 2:3]) * 0 if not self.training else logits

def dark(shape, n):
    return Dark()
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that checks a trial of a model of MODULE before training."""
    (tmp_path / "users_own.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(name, defences=""):
        config = parse_space(SPACE % (name, defences), "users.yaml").config()
        preflight.check(config, data.load(config.dataset, seed=0))
        return config

    yield run
    sys.modules.pop("users_own", None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("the_same", "gives the same module twice: its weight '1.weight'"),
        ("part_of_the_same", "gives the same module twice: its weight '3.weight'"),
        ("frozen", "has nothing to train: no parameter"),
        ("without_gradients", "has nothing to train: its logits do not depend"),
        ("batch_norm", r"a batch of 1 \(the last of an epoch: 97 members by 32\): ValueError"),
        ("broken", r"in training mode on a batch of 32: RuntimeError: .*users_own.py:\d+\)"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_before_training(check, name, words):
    with pytest.raises(ModelError, match=words):
        check(name)


def test_under_dp_a_model_fails_in_its_own_words(check):
    with pytest.raises(
        ModelError, match=r"training mode on a batch of \d+: RuntimeError.*py:\d+\)"
    ):
        check("broken", "epsilon: 8")


def test_an_epsilon_that_no_noise_reaches_is_refused_before_training(check):
    with pytest.raises(PrivacyError, match="epsilon 0.0001 at delta 1e-05 cannot be met"):
        check("plain", "epsilon: 1e-4")


def test_a_fresh_module_each_time_passes(check):
    check("plain")
    check("plain", "epsilon: 8")


def test_l2_of_the_output_is_refused_where_the_last_layer_is_not_the_output(check):
    with pytest.raises(ModelError, match="logits are the output of its last nn.Linear"):
        check("unused_last", "l2: 0.1")
    check("unused_last", "l2: 0.1, l2_scope: all")


def test_outputs_that_are_no_numbers_fail_the_trial_by_the_splits_name(check):
    config = check("dark")
    with pytest.raises(NotFinite, match=r"not finite numbers for \d+ validation"):
        run_trial(config)
