"""Settings and fixtures of all tests: warnings are errors, and shared state may not change."""

import os
import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import settings

from raysweep import cli, data
from raysweep.driver import sweep  # noqa: F401 - imported here because Ray's import draws numbers
from raysweep.space.parsing import parse_space

torch.set_num_threads(1)
os.environ.setdefault("RAY_worker_niceness", "0")  # workers wait for no other tests
settings.register_profile("busy", deadline=None)  # the machine may be busy with other work
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


STARTS_RAY = {
    "test_faults.py",
    "test_nodes.py",
    "test_object_store.py",
    "test_surroundings.py",
    "test_sweep.py",
}
SLOW = {"test_analysis.py", "test_report.py"}


def pytest_collection_modifyitems(items):
    """Mark whole files as `ray` or `slow`, and spread the tests that start Ray over all others.

    Single tests carry the mark themselves. A test that starts Ray waits more than it computes:
    beside others the processors are busy, and at the end they would stand still.
    """
    for item in items:
        if item.path.name in STARTS_RAY:
            item.add_marker(pytest.mark.ray)
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)

    of_ray = [item for item in items if item.get_closest_marker("ray")]
    others = [item for item in items if not item.get_closest_marker("ray")]
    step = len(others) // max(1, len(of_ray)) + 1
    for place, item in enumerate(of_ray):
        others.insert(place * step, item)
    items[:] = others


@pytest.fixture(autouse=True)
def _only_marked_tests_start_ray(request):
    yield
    if "ray" in sys.modules and not request.node.get_closest_marker("ray"):
        assert not sys.modules["ray"].is_initialized(), "mark this test with pytest.mark.ray"


@pytest.fixture(autouse=True)
def _shared_state_stays_unchanged():
    """Fail a test that changes a global generator, the default dtype or the default device."""
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()

    yield

    assert torch.equal(before[0], torch.random.get_rng_state()), "torch's global generator changed"
    assert np.array_equal(before[1], np.random.get_state()[1]), "NumPy's global generator changed"
    assert before[2] == random.getstate(), "Python's global generator changed"
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


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command in this process, in an empty folder that holds small.yaml."""
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["raysweep", *map(str, args)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
