"""The cost of choosing among trainings, against published figures and a closed form."""

import math

import numpy as np
import pytest
from scipy.stats import binom, chi2

from raysweep.defences.dpsgd import accounting
from raysweep.defences.dpsgd.selection import (
    ORDERS_OF_GROUP,
    _divergences,
    draw_number,
    epsilon_of_choice,
    epsilon_of_group_choice,
    gamma_of_mean,
)

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


@pytest.mark.parametrize(
    ("mean", "distribution", "published"),
    [(10, "geometric", 5.05), (100, "geometric", 6.38), (9.2, "logarithmic", 4.25)],
)
def test_published_figures_of_a_training_on_mnist_are_reproduced(mean, distribution, published):
    """Noise 1.1, batches of 256 of 60,000 examples, 60 epochs: 2.60 for one training."""
    rule = {"delta": 1e-5, "sample_rate": 256 / 60_000, "steps": 14_100}
    one, _ = accounting.epsilon_spent(1.1, accountant="rdp", **rule)
    assert one == pytest.approx(2.60, rel=0.01)
    found = epsilon_of_choice(1.1, mean=mean, distribution=distribution, **rule)
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


@pytest.mark.parametrize("distribution", ["geometric", "logarithmic"])
def test_a_group_of_one_record_costs_what_dp_accounting_says_of_a_record(distribution):
    """It leaves out some orders between whole numbers, and finds a little more."""
    noise, law = noise_for(2), {"mean": 10, "distribution": distribution}
    found = epsilon_of_group_choice(noise, records=1, **law, **RULE)
    assert found == pytest.approx(epsilon_of_choice(noise, **law, **RULE), rel=1e-3)


def test_the_divergence_of_a_group_in_every_batch_is_that_of_two_normal_distributions():
    """Mironov 2017: order times the squared distance over twice the variance."""
    closed = 3**2 * np.array(ORDERS_OF_GROUP) / (2 * 5.0**2)
    assert _divergences(5.0, 1.0, 3) == pytest.approx(closed, rel=1e-6)


def test_the_divergence_of_a_group_is_the_sum_over_numbers_of_its_records_at_order_two():
    noise, rate, k = 4.0, 0.25, np.arange(5)
    chance = binom.pmf(k, 4, rate)
    closed = np.log(chance @ np.exp(np.outer(k, k) / noise**2) @ chance)
    assert _divergences(noise, rate, 4)[ORDERS_OF_GROUP.index(2.0)] == pytest.approx(closed)


def test_a_choice_costs_a_person_more_than_a_record_and_too_large_groups_have_no_answer():
    noise, law = noise_for(1), {"mean": 10, "distribution": "geometric"}
    costs = [epsilon_of_group_choice(noise, records=k, **law, **RULE) for k in (1, 2, 4)]
    assert np.all(np.diff(costs) > 0)
    assert 2 * costs[0] < costs[1] < 4 * costs[0]
    assert epsilon_of_group_choice(noise, records=1000, **law, **RULE) == math.inf


def test_more_trials_cost_more_and_a_logarithmic_number_costs_less():
    noise = noise_for(2)
    costs = [
        epsilon_of_choice(noise, mean=mean, distribution="geometric", **RULE)
        for mean in (1.5, 10, 100)
    ]
    assert np.all(np.diff(costs) > 0)
    assert epsilon_of_choice(noise, mean=10, distribution="logarithmic", **RULE) < costs[1]


def chances(distribution, mean, n):
    k = np.arange(1, n + 1)
    if distribution == "geometric":
        return (1 - 1 / mean) ** (k - 1) / mean
    gamma = gamma_of_mean(mean)
    return (1 - gamma) ** k / (k * -np.log(gamma))


@pytest.mark.parametrize("distribution", ["geometric", "logarithmic"])
@pytest.mark.parametrize("mean", [1.5, 9.2, 40])
def test_the_number_of_trainings_follows_its_law(distribution, mean):
    law = chances(distribution, mean, 200_000)
    assert law.sum() == pytest.approx(1, abs=1e-9)
    assert law @ np.arange(1, len(law) + 1) == pytest.approx(mean, rel=1e-6)

    n = 20_000
    drawn = np.array([draw_number(distribution, mean) for _ in range(n)])
    expected = n * law[: int((n * law >= 20).sum())]
    found = np.bincount(drawn)[1 : len(expected) + 1]
    expected = np.append(expected, n - expected.sum())
    found = np.append(found, n - found.sum())
    assert chi2.sf(((found - expected) ** 2 / expected).sum(), len(found) - 1) > 1e-6
