"""Epsilon and noise against dp-accounting and against quadrature, over the range that is used."""

import logging
import warnings

import dp_accounting as dp
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant
from scipy.special import logsumexp

from raysweep.config.training import PrivateTraining, Training
from raysweep.defences.dpsgd import DPSGD, accounting

DELTA = 1e-5

DESIGNS = [(0.25, 120), (1 / 80, 2400), (1.0, 40), (1 / 469, 7035)]  # sample rate, steps

EPSILONS = [0.05, 0.5, 2, 8, 50, 100, 300, 400, 1000, 5600, 55_000, 5e6, 6e7]

WHOLE = tuple(map(float, accounting.WHOLE_ORDERS))


def rule(rate, steps, accountant):
    return {"delta": DELTA, "sample_rate": rate, "steps": steps, "accountant": accountant}


def event(noise, rate, steps):
    gaussian = dp.GaussianDpEvent(noise)
    one = dp.PoissonSampledDpEvent(rate, gaussian) if rate < 1 else gaussian
    return dp.SelfComposedDpEvent(one, steps)


def by_rdp_of_dp_accounting(noise, rate, steps):
    """Whole orders only: at fractional ones its series may stop before it has converged."""
    logging.disable(logging.WARNING)
    try:
        return RdpAccountant(WHOLE).compose(event(noise, rate, steps)).get_epsilon(DELTA)
    finally:
        logging.disable(logging.NOTSET)


def by_pld(noise, rate, steps, interval):
    one = pld.from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=interval
    )
    return one.self_compose(steps).get_epsilon_for_delta(DELTA)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_noise_by_rdp_spends_what_was_asked(epsilon):
    check_rdp(epsilon, 1 / 80, 2400)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize(("rate", "steps"), DESIGNS)
def test_noise_by_rdp_spends_what_was_asked_in_every_design(rate, steps, epsilon):
    check_rdp(epsilon, rate, steps)


def check_rdp(epsilon, rate, steps):
    noise = accounting.solve_noise(epsilon, **rule(rate, steps, "rdp"))
    spent, accountant = accounting.epsilon_spent(noise, **rule(rate, steps, "rdp"))
    assert 0.99 * epsilon < spent <= epsilon
    assert accountant == "rdp"


@pytest.mark.parametrize("epsilon", [0.3, 2])
def test_noise_by_prv_spends_what_was_asked_and_epsilon_is_that_of_plds(epsilon):
    check_prv(epsilon, 0.25, 120)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "steps", "epsilon"),
    [
        *((1.0, 40, epsilon) for epsilon in (0.05, 0.5, 8, 100)),
        *((0.25, 120, epsilon) for epsilon in (0.05, 30)),
        *((1 / 80, 2400, epsilon) for epsilon in (0.5, 8)),
        (1 / 469, 7035, 3),
    ],
)
def test_noise_by_prv_spends_what_was_asked_over_the_whole_range(rate, steps, epsilon):
    check_prv(epsilon, rate, steps)


@pytest.mark.parametrize("epsilon", [99.9, 101, 110, 124, 130])
def test_a_budget_about_the_end_of_prv_is_spent(epsilon):
    """PRV has no answer above 100, and there RDP solves the noise and says what it spends."""
    training = Training(epochs=2, private=PrivateTraining(sample_rate=0.5, expected_batch=50))
    mechanism = DPSGD(target_epsilon=epsilon)._mechanism(100, training)
    spent = mechanism._account(4, "layerwise")
    assert 0.99 * epsilon < spent.epsilon <= epsilon
    assert spent.accountant == ("prv" if epsilon < 100 else "rdp")


def check_prv(epsilon, rate, steps):
    noise = accounting.solve_noise(epsilon, **rule(rate, steps, "prv"))
    spent, accountant = accounting.epsilon_spent(noise, **rule(rate, steps, "prv"))
    assert 0.99 * epsilon < spent <= epsilon
    assert accountant == "prv"
    theirs = by_pld(noise, rate, steps, min(1e-4, epsilon * 2e-4))
    assert 0.999 * theirs < spent < 1.02 * theirs


@pytest.mark.parametrize("noise", [0.3, 0.6, 1, 2, 8, 40])
@pytest.mark.parametrize(("rate", "steps"), DESIGNS)
def test_epsilons_by_rdp_are_those_of_dp_accounting(rate, steps, noise):
    ours = accounting._rdp_epsilon(noise, rate, steps, DELTA, WHOLE)
    assert ours == pytest.approx(by_rdp_of_dp_accounting(noise, rate, steps), rel=1e-6)


@pytest.mark.parametrize("noise", [0.06, 0.3, 1, 4])
@pytest.mark.parametrize("rate", [1 / 469, 1 / 80, 0.25])
def test_the_divergence_at_fractional_orders_is_that_of_quadrature(rate, noise):
    orders = (1.05, 1.2, 1.7, 3.75)
    ours = [accounting._one_step(noise, rate, order) for order in orders]
    expected = [divergence(rate, noise, order) for order in orders]
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-9)


def divergence(rate, noise, order):
    """Return the Renyi divergence of the sampled Gaussian by the trapezium rule."""
    x = np.linspace(-40 * noise - 2, 40 * noise + order + 2, 400_001)
    density = -(x**2) / (2 * noise**2) - 0.5 * np.log(2 * np.pi * noise**2)
    ratio = np.logaddexp(np.log1p(-rate), np.log(rate) + (2 * x - 1) / (2 * noise**2))
    return (logsumexp(density + order * ratio) + np.log(x[1] - x[0])) / (order - 1)


def test_prvs_own_error_is_small_beside_a_small_epsilon():
    noise = accounting.solve_noise(0.1, **rule(0.25, 120, "prv"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spent, _ = accounting.epsilon_spent(noise, **rule(0.25, 120, "prv"))
    assert spent < 1.02 * by_pld(noise, 0.25, 120, 2e-5)
