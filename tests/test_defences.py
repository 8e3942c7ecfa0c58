"""The contract that every defence obeys: a new one is covered by standing in the catalogue."""

import dataclasses
import json

import pytest
import torch

from raysweep import defences
from raysweep.config import Training, plain
from raysweep.errors import SpaceError
from raysweep.models import MODELS
from raysweep.registry import fields
from raysweep.train import plain_recipe, train

STRONG = {
    "Dropout": {"dropout": 0.5},
    "L2": {"l2": 0.1, "l2_scope": "all"},
    "DPSGD": {"epsilon": 4.0},
}
CATALOGUE = defences.DEFENCES


def recipe():
    private = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 60}
    return plain_recipe(MODELS["mlp"](hidden=(16,)).build, Training(epochs=2, private=private))


def weights(recipe_, splits):
    target = train(recipe_, splits.members, seed=0, device=torch.device("cpu"))
    return torch.cat([p.detach().flatten() for p in target.model.parameters()])


def test_every_defence_has_a_strong_setting_here():
    assert set(STRONG) == {kind.__name__ for kind in CATALOGUE}


@pytest.mark.parametrize("kind", CATALOGUE)
def test_zero_strength_is_plain_training(kind, splits):
    neutral = defences.complete({})
    defended = defences.defend(recipe(), neutral, splits.reference)
    assert kind().is_neutral
    assert torch.equal(weights(defended, splits), weights(recipe(), splits))


@pytest.mark.parametrize("kind", CATALOGUE)
def test_strength_changes_the_training_and_not_the_recipe_it_was_given(kind, splits):
    given = recipe()
    before = dataclasses.asdict(given.training), given.penalty, given.build_model, given.mechanism
    defended = kind(**STRONG[kind.__name__]).apply(given, splits.reference)
    assert not torch.equal(weights(defended, splits), weights(given, splits))
    after = dataclasses.asdict(given.training), given.penalty, given.build_model, given.mechanism
    assert after == before


@pytest.mark.parametrize("kind", CATALOGUE)
def test_parameters_survive_json(kind):
    defence = kind(**STRONG[kind.__name__])
    values = json.loads(json.dumps(plain(dataclasses.asdict(defence))))
    assert kind(**values) == defence


@pytest.mark.parametrize("kind", CATALOGUE)
def test_its_keys_are_its_own(kind):
    others = [key for other in CATALOGUE if other is not kind for key in fields(other)]
    assert not set(fields(kind)) & set(others)


def test_all_defences_act_together(splits):
    values = {key: value for strong in STRONG.values() for key, value in strong.items()}
    together = defences.defend(recipe(), values, splits.reference)
    target = train(together, splits.members, seed=0, device=torch.device("cpu"))
    assert target.privacy is not None
    assert any(isinstance(m, torch.nn.Dropout) for m in target.model.modules())


@pytest.mark.parametrize(("scope", "factor"), [("output", 2.0), ("all", 1.0)])
def test_l2_has_the_gradient_that_its_scope_promises(scope, factor):
    from raysweep.defences.l2 import L2

    with torch.random.fork_rng():
        model = MODELS["mlp"](hidden=(4,)).build((6,), 3)
    penalty = L2(l2=0.3, l2_scope=scope).apply(recipe(), None).penalty
    penalty(model).backward()
    named = dict(model.named_parameters())
    kernel = named["output.weight"]
    assert torch.allclose(kernel.grad, factor * 0.3 * kernel)
    assert (named["dense1.0.weight"].grad is None) == (scope == "output")


def test_l2_on_the_output_needs_a_linear_layer():
    from raysweep.defences.l2 import output_kernel
    from raysweep.errors import ModelError

    with pytest.raises(ModelError, match="use `l2_scope: all`"):
        output_kernel(torch.nn.Sequential(torch.nn.ReLU()))


def test_an_unknown_defence_lists_the_known_ones():
    with pytest.raises(SpaceError, match="did you mean 'dropout'"):
        defences.complete({"dropuot": 0.1})
