"""DP-SGD on models as users write them: the clipped sum of autograd, or a refusal."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_dpsgd import one_by_one, private_training, relative_error, seeded
from users_models import KEEPS, MIXES, RIGHT, STOCHASTIC, prelu_cnn

from raysweep.defences.dpsgd import gradients
from raysweep.defences.dpsgd.choice import clipping
from raysweep.defences.dpsgd.mixing import refuse_mixing
from raysweep.errors import PrivacyError
from raysweep.training.devices import channels_last
from raysweep.training.target import pixels

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def members(splits):
    return pixels(splits.members.tensors("cpu")[0], splits.members)


@pytest.fixture
def restored():
    """Restore the generators that a user's model may draw from."""
    before = random.getstate(), np.random.get_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])


@pytest.mark.parametrize("name", list(RIGHT))
def test_the_clipped_sum_of_a_users_model_is_that_of_autograd(name, members):
    model = seeded(lambda: RIGHT[name](SHAPE, 10))
    channels_last(model, members[:1])
    refuse_mixing(model, members)
    x, y = members[10:16], torch.arange(6)
    way = clipping(model.train(), members, 0.5)
    way.add(lambda z: F.cross_entropy(way.forward(z), y, reduction="none"), x)
    ours = [total.clone() for _, total in way.take()]
    way.release()
    assert relative_error(ours, one_by_one(model, x, y, 0.5)) < 1e-5


@pytest.mark.parametrize("side", [1, 3])
def test_convolutions_in_channels_last_are_clipped_right(side):
    x = torch.rand(6, side, 8, 8, generator=torch.Generator().manual_seed(0))
    y, model = torch.arange(6), seeded(lambda: prelu_cnn((side, 8, 8), 10))
    channels_last(model, x[:1])
    way = clipping(model.train(), x, 0.1)
    way.add(lambda z: F.cross_entropy(way.forward(z), y, reduction="none"), x)
    assert relative_error([s for _, s in way.take()], one_by_one(model, x, y, 0.1)) < 1e-5


@pytest.mark.parametrize("name", list(STOCHASTIC))
def test_chance_is_no_mixing(name, splits, restored):
    target = private_training({"epsilon": 8}, lambda *s: STOCHASTIC[name](*s), splits, epochs=1)
    assert target.privacy.clipping in ("vmap", "loop")


@pytest.mark.parametrize("name", list(MIXES))
def test_a_model_that_mixes_its_batch_is_refused(name, members):
    model = seeded(lambda: MIXES[name](SHAPE, 10))
    with pytest.raises(PrivacyError, match="depends? on the other examples of its batch"):
        refuse_mixing(model, members)


@pytest.mark.parametrize("name", list(KEEPS))
def test_a_model_that_keeps_something_of_its_batches_is_refused(name, members):
    model = seeded(lambda: KEEPS[name](SHAPE, 10))
    words = "keeps something of earlier|'calls' changed in training|its parameter '(bank|shift)'"
    with pytest.raises(PrivacyError, match=words):
        refuse_mixing(model, members)


@pytest.mark.parametrize("name", ["prelu_cnn", "ViewMlp", "Recurrent", "Squeezes", "scripted"])
def test_empty_batches_train_without_calling_the_model(name, splits):
    target = private_training(
        {"noise_multiplier": 1.0}, RIGHT[name], splits, epochs=1, batch_size=2
    )
    assert target.privacy.steps == 60


def test_a_frozen_parameter_that_training_changes_is_refused_at_its_end(splits, monkeypatch):
    monkeypatch.setattr(gradients, "refuse_mixing", lambda *_: None)
    with pytest.raises(PrivacyError, match="itself changed its parameter 'bank'"):
        private_training({"epsilon": 8}, KEEPS["a mean in a frozen parameter"], splits, epochs=1)
