"""The cost of choosing among trainings, against published figures and a closed form."""

import math

import numpy as np
import pytest

from raysweep.defences.dpsgd import accounting
from raysweep.defences.dpsgd.selection import epsilon_of_choice

RULE = {"delta": 1e-5, "sample_rate": 0.25, "steps": 120}


def noise_for(epsilon):
    return accounting.solve_noise(epsilon, accountant="rdp", **RULE)


@pytest.mark.parametrize(
    ("epsilon", "mean", "distribution", "published"),
    [
        (1, 40, "geometric", 2.48),
        (2, 40, "geometric", 4.7),
        (3, 40, "geometric", 6.7),
        (8, 40, "geometric", 15.2),
    ],
)
def test_the_figures_of_one_run_are_reproduced(epsilon, mean, distribution, published):
    found = epsilon_of_choice(noise_for(epsilon), mean=mean, distribution=distribution, **RULE)
    assert found == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("mean", [10, 100])
def test_a_geometric_number_costs_what_the_theorem_says(mean):
    """Papernot & Steinke 2022, Theorem 2 at shape 1, over whole orders, by hand."""
    noise, best = noise_for(2), math.inf
    orders = [float(order) for order in range(2, 200)]
    rdp = {order: 120 * accounting._one_step(noise, 0.25, order) for order in orders}
    spread = min(
        (1 - 1 / order) * rdp[order] + math.log(mean) / order for order in orders
    )  # the second order may be another one
    for order in orders:
        of_choice = rdp[order] + 2 * spread + math.log(mean) / (order - 1)
        tail = math.log1p(-1 / order) - math.log(RULE["delta"] * order) / (order - 1)
        best = min(best, of_choice + tail)
    found = epsilon_of_choice(noise, mean=mean, distribution="geometric", **RULE)
    assert found == pytest.approx(best, rel=0.01)


def test_more_trials_cost_more_and_a_logarithmic_number_costs_less():
    noise = noise_for(2)
    costs = [
        epsilon_of_choice(noise, mean=mean, distribution="geometric", **RULE)
        for mean in (1.5, 10, 100)
    ]
    assert np.all(np.diff(costs) > 0)
    assert epsilon_of_choice(noise, mean=10, distribution="logarithmic", **RULE) < costs[1]
