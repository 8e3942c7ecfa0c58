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
import sys

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

class TextlessError(Exception):
    def __str__(self):
        raise ValueError

class Ending(BaseException):
    '''Such as those of test frameworks and asyncio, which are no Exceptions.'''

def with_a_textless_error(shape, n):
    raise TextlessError("why")

def with_an_ending(shape, n):
    raise Ending("own")

def with_a_late_line(shape, n):
    raise ValueError("\\n\\n  the cause\\nand more")

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

class NoParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(64, 10)]

    def forward(self, x):
        return self.layers[0](x.flatten(1))

def layers_in_a_list(shape, n):
    return NoParameters()

class InTraining(nn.Module):
    '''Does something else in training: what ``change`` makes of the logits.'''

    def __init__(self, change):
        super().__init__()
        self.inner, self.change = flat(10, nn.Tanh()), change

    def forward(self, x):
        logits = self.inner(x)
        return self.change(logits) if self.training else logits

def auxiliary(shape, n):
    return InTraining(lambda logits: (logits, logits))

def pooled(shape, n):
    return InTraining(lambda logits: logits.mean(0, keepdim=True))

def not_a_number(shape, n):
    return InTraining(lambda logits: logits * float("nan"))

class NotANumber(nn.Module):
    "Not a number for the pictures of one mean brightness."

    def __init__(self, mean):
        super().__init__()
        self.inner, self.mean = flat(10), mean

    def forward(self, x):
        is_it = x.flatten(1).mean(1, keepdim=True) == self.mean
        return self.inner(x) + torch.where(is_it, float("nan"), 0.0)

def not_a_number_for_one(shape, n):
    return NotANumber(0.220703125)  # the darkest member, which is not among the first 32

def ends(shape, n):
    return InTraining(lambda logits: sys.exit(3))

class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = flat(10)

    def forward(self, x):
        x -= 0.5
        return self.inner(x)

def in_place(shape, n):
    return InPlace()

def own_statistics(shape, n):
    return flat(n, nn.BatchNorm1d(16, track_running_stats=False))

class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.f = nn.Conv3d(1, 2, 3), nn.Linear(72 * 4, 10)

    def forward(self, x):
        return self.f(self.c(x[:, None].expand(-1, -1, 6, -1, -1)).flatten(1))

def volume(shape, n):
    return Volume()

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

def not_a_number_in_validation(shape, n):
    return NotANumber(0.22265625)  # the darkest picture of validation
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
        (
            "batch_norm",
            r"a batch of 1 \(the last of an epoch: 97 .*ValueError|layer '2' is BatchNorm1d",
        ),
        ("layers_in_a_list", "has nothing to train: it has no parameters; its weights must be"),
        ("auxiliary", "must give a tensor of logits in training mode, got tuple"),
        ("pooled", r"must give logits of shape \(n, 10\) in training mode, got \(1, 10\) for n"),
        ("not_a_number", "not finite numbers for 32 of 32 members, before any training"),
        ("not_a_number_for_one", "not finite numbers for 1 of 97 members, before any training"),
        ("ends", r"on a batch of \d+: SystemExit: 3 \(.*users_own.py:\d+\)"),
        ("in_place", "changes its input in place; write x = x - 0.5"),
        ("own_statistics", "in evaluation mode on a batch of 1: ValueError"),
        ("broken", r"in training mode on a batch of \d+: RuntimeError: .*users_own.py:\d+\)"),
    ],
)
@pytest.mark.parametrize("defences", ["", "epsilon: 8"])
def test_a_model_that_cannot_be_trained_is_refused_before_training(check, name, words, defences):
    with pytest.raises((ModelError, PrivacyError), match=words):
        check(name, defences)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("with_a_textless_error", r"TextlessError: why \(.*users_own.py:"),
        ("with_an_ending", r"Ending: own \(.*users_own.py:"),
        ("with_a_late_line", r"ValueError: the cause \(.*users_own.py:"),
    ],
)
def test_odd_errors_of_a_model_are_told_in_their_words(check, name, words):
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


def test_weights_of_five_dimensions_keep_their_layout(check):
    check("volume")


def test_a_fresh_module_each_time_passes(check):
    check("plain")
    check("plain", "epsilon: 8")


def test_l2_of_the_output_is_refused_where_the_last_layer_is_not_the_output(check):
    with pytest.raises(ModelError, match="logits are the output of its last nn.Linear"):
        check("unused_last", "l2: 0.1")
    check("unused_last", "l2: 0.1, l2_scope: all")


def test_outputs_that_are_no_numbers_fail_the_trial_by_the_splits_name(check):
    config = check("not_a_number_in_validation")
    with pytest.raises(NotFinite, match=r"not finite numbers for 1 validation"):
        run_trial(config)
