"""Stricter than life: warnings are errors, and nobody may change what all tests share."""

import random

import numpy as np
import pytest
import torch
from hypothesis import settings

from raysweep import data
from raysweep.driver import sweep  # noqa: F401 - imported once, before the generators are watched
from raysweep.space.parsing import parse_space

torch.set_num_threads(1)
settings.register_profile("busy", deadline=None)  # a machine that does other things proves nothing
settings.load_profile("busy")

DIGITS = {
    "name": "digits",
    "members": 120,
    "nonmembers": 60,
    "pool": 200,
    "reference": 0,
    "validation": 100,
    "test": 100,
}

SMALL = """\
name: small
dataset: {name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}
model: {name: mlp, hidden: [32], activation: tanh}
training:
  epochs: 4
  batch_size: 16
  learning_rate: 1e-2
  private: {optimizer: sgd, learning_rate: 1.0, batch_size: 60}
search:
  epsilon: {low: 2, high: 16, log: true, or: .inf}
  dropout: {low: 0.0, high: 0.5}
attacks:
  membership: [max_posterior, loss]
  inversion: {activation_decoder: {decoders: [ridge]}}
sampler: {name: random, trials: 5}
seed: 3
"""


@pytest.fixture(autouse=True)
def _shared_state_is_untouched():
    """Fail whoever moves a global generator, the default dtype or the default device."""
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    yield
    assert torch.equal(before[0], torch.random.get_rng_state()), "torch's global generator moved"
    assert np.array_equal(before[1], np.random.get_state()[1]), "NumPy's global generator moved"
    assert before[2] == random.getstate(), "Python's global generator moved"
    assert (dtype, device) == (torch.get_default_dtype(), torch.get_default_device())


@pytest.fixture
def space():
    return parse_space(SMALL, "small.yaml")


@pytest.fixture(scope="session")
def splits():
    return data.load(DIGITS, seed=0)


@pytest.fixture
def cpu():
    return torch.device("cpu")


@pytest.fixture
def small_yaml(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path
