"""Random numbers of the operating system: their distributions, and that nothing repeats them."""

import numpy as np
import pytest
import torch
from scipy import stats

from raysweep.training.entropy import system_normal, system_uniform


def test_system_numbers_have_their_distributions():
    uniform = system_uniform(20_000).numpy()
    assert 0 <= uniform.min() < uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-6

    normal = system_normal(3.0, (100, 200), dtype=torch.float32, device="cpu")
    assert normal.shape == (100, 200)
    assert stats.kstest(normal.flatten().numpy() / 3, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(normal[:50].flatten(), normal[50:].flatten())[0, 1]) < 0.06


def test_no_seed_repeats_system_numbers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = system_normal(1.0, (8,))
        torch.manual_seed(0)
        assert not torch.equal(first, system_normal(1.0, (8,)))


@pytest.mark.parametrize("shape", [(0,), (), (3, 0)])
def test_small_shapes(shape):
    assert system_normal(1.0, shape).shape == shape
