"""The stated neighbours are those of the code: what follows the number of members, and what not."""

import numpy as np
import pytest
import torch
from torch import nn

from raysweep.config import PrivateTraining, Training
from raysweep.data import Split
from raysweep.defences import Defences
from raysweep.errors import PrivacyError, SpaceError
from raysweep.space.parsing import parse_space
from raysweep.training.loop import train
from raysweep.training.recipe import plain_recipe

CPU = torch.device("cpu")

CONSTANTS = PrivateTraining(expected_batch=60, sample_rate=0.25)


class Deaf(nn.Module):
    """Every gradient is zero: the logits do not depend on the weights."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(64, 10)

    def forward(self, x):
        return self.output(x.flatten(1) * 0) * 0


def weights(splits, n, private, build=Deaf, **values):
    """Return the weights after a training on the first ``n`` members, and what it spent."""
    training = Training(
        epochs=3, batch_size=30, optimizer="sgd", learning_rate=0.5, private=private
    )
    recipe = Defences.parse({"noise_multiplier": 2.0, **values}).apply(
        plain_recipe(lambda *_: build(), training), splits.reference
    )
    target = train(recipe, splits.members.rows(np.arange(n)), seed=0, device=CPU)
    return torch.cat([p.detach().flatten() for p in target.model.parameters()]), target.privacy


def test_with_constants_nothing_of_the_noise_differs_between_n_and_one_less(splits):
    of_all, spent = weights(splits, 120, CONSTANTS)
    of_less, spent_less = weights(splits, 119, CONSTANTS)
    assert torch.equal(of_all, of_less)
    assert spent == spent_less
    assert spent.neighbours == "add_remove"
    assert (spent.sample_rate, spent.steps) == (0.25, 12)


def test_without_constants_the_noise_tells_n_from_one_more(splits):
    """Why add-or-remove is not claimed there: 60 members are 2 steps an epoch, and 61 are 3."""
    of_less, spent_less = weights(splits, 60, PrivateTraining())
    of_all, spent = weights(splits, 61, PrivateTraining())
    assert not torch.allclose(of_all, of_less)
    assert (spent_less.steps, spent.steps) == (6, 9)
    assert spent.neighbours == "zero_out"


def test_with_n_fixed_a_record_replaced_by_nothing_changes_only_its_own_gradient(splits):
    """The first member's gradient is zero, as if it were not there: the noise is the same."""
    changed = splits.members.features.copy()
    changed[0] = 0
    members = splits.members
    other = Split(
        features=changed,
        labels=members.labels,
        indices=members.indices,
        top=members.top,
        n_classes=members.n_classes,
    )
    private = PrivateTraining()
    one, spent = weights(splits, 120, private)
    two, also = weights(type("Both", (), {"members": other, "reference": other}), 120, private)
    assert torch.equal(one, two)
    assert spent == also


def test_the_divisor_is_the_stated_one(splits):
    half = PrivateTraining(expected_batch=30, sample_rate=0.25)

    def moved(private):
        start = weights(splits, 120, private, noise_multiplier=1e-9)[0]
        return weights(splits, 120, private)[0] - start

    assert torch.allclose(moved(half), 2 * moved(CONSTANTS), atol=1e-5)


@pytest.mark.parametrize("given", [{"expected_batch": 30}, {"sample_rate": 0.5}])
def test_a_constant_without_its_companion_is_refused(given, small_yaml):
    text = small_yaml.read_text()
    overrides = {f"training.private.{key}": value for key, value in given.items()}
    overrides["training.private.batch_size"] = None
    with pytest.raises(SpaceError, match=r"give both `expected_batch` and `sample_rate`"):
        parse_space(text, "s.yaml", overrides)


def test_a_batch_size_beside_the_constants_is_refused(small_yaml):
    overrides = {"training.private.expected_batch": 30, "training.private.sample_rate": 0.25}
    with pytest.raises(SpaceError, match="`batch_size` is given beside `expected_batch`"):
        parse_space(small_yaml.read_text(), "s.yaml", overrides)


def test_an_expected_batch_above_the_members_is_refused(splits):
    private = PrivateTraining(expected_batch=121, sample_rate=0.25)
    rule = r"`training.private.expected_batch` must be at most the members, 120, got 121"
    with pytest.raises(PrivacyError, match=rule):
        weights(splits, 120, private)


def test_the_constants_stand_in_no_configuration_without_them(space):
    text = space.config({"target_epsilon": 4}).to_json()
    assert "expected_batch" not in text
    assert '"sample_rate"' not in text
