"""What any attacker can reach, against a second computation that shares no code with it."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from raysweep.attacks.intervals import least_rate, most_rate
from raysweep.defences.dpsgd import accounting, tradeoff
from raysweep.errors import PrivacyError
from raysweep.records.columns import ScoreRows
from raysweep.training.recipe import PrivacySpent
from raysweep.trial.claim import refuse_broken_claim, rows_of_models

RATES = (0.001, 0.01, 0.1)

RULE = {"sample_rate": 0.25, "steps": 120}


def rates_by_neyman_pearson(noise, rate, steps, records=1):
    """Return the best test's true-positive rates at RATES: Fourier powers of its log ratio.

    The sum of the log ratios of all steps is discretised, without and with the record.
    """
    cell, half = 2e-4, 2**17
    x = np.linspace(-12 * noise - records, 12 * noise + 2 * records, 2_000_001)
    without = norm.pdf(x, 0, noise)
    number = np.arange(records + 1)
    weights = binom.pmf(number, records, rate)
    with_it = sum(w * norm.pdf(x, k, noise) for k, w in zip(number, weights, strict=True))
    cells = np.round(np.log(with_it / without) / cell).astype(int) + half

    sums = []
    for density in (without, with_it):
        mass = np.bincount(cells, density, 2 * half)
        spectrum = np.fft.rfft(np.roll(mass / mass.sum(), -half), 2 * half)
        sums.append(np.roll(np.fft.irfft(spectrum**steps, 2 * half), half).clip(0))
    false, true = (np.cumsum(mass[::-1]) for mass in sums)
    return np.interp(RATES, false, true)


@pytest.mark.parametrize("epsilon", [1, 2, 3, 8])
def test_the_curve_is_that_of_the_best_test(epsilon):
    noise = accounting.solve_noise(epsilon, delta=1e-5, accountant="rdp", **RULE)
    ours = [tradeoff.most_found(rate, noise, **RULE) for rate in RATES]
    assert ours == pytest.approx(rates_by_neyman_pearson(noise, 0.25, 120), abs=1e-3)


def test_the_curve_of_full_batches_is_that_of_two_normal_distributions():
    ours = [tradeoff.most_found(rate, 8.0, sample_rate=1.0, steps=40) for rate in RATES]
    exact = norm.cdf(norm.ppf(RATES) + 40**0.5 / 8.0)
    assert ours == pytest.approx(list(exact), abs=1e-3)
    assert all(bound >= e - 1e-6 for bound, e in zip(ours, exact, strict=True))


@pytest.mark.parametrize("records", [2, 4])
def test_the_curve_of_a_group_is_that_of_the_best_test(records):
    noise = accounting.solve_noise(1, delta=1e-5, accountant="rdp", **RULE)
    ours = [tradeoff.most_found(rate, noise, records=records, **RULE) for rate in RATES]
    theirs = rates_by_neyman_pearson(noise, 0.25, 120, records)
    assert ours == pytest.approx(theirs, abs=2e-3)


def test_a_group_costs_about_as_many_times_more():
    noise = accounting.solve_noise(1, delta=1e-5, accountant="prv", **RULE)
    alone = tradeoff.epsilon_by_pld(noise, delta=1e-5, **RULE)
    of_four = tradeoff.epsilon_by_pld(noise, delta=1e-5, records=4, **RULE)
    assert alone == pytest.approx(1, rel=0.02)
    assert 4 < of_four / alone < 6


def test_the_curve_says_nothing_of_an_epsilon_that_is_too_large():
    assert tradeoff.most_found(0.001, 0.05, **RULE) == 1
    assert tradeoff.epsilon_by_pld(0.05, delta=1e-5, **RULE) == np.inf


def spent(noise):
    return PrivacySpent(
        epsilon=1.0,
        delta=1e-5,
        noise_multiplier=noise,
        accountant="rdp",
        accountant_settings="",
        clipping="layerwise",
        **RULE,
    )


def scores(gap, n=400):
    rng = np.random.default_rng(0)
    member = np.arange(2 * n) < n
    return ScoreRows(
        attack="loss",
        example=np.arange(2 * n),
        member=member,
        score=rng.normal(size=2 * n) + gap * member,
    )


def test_an_attack_that_finds_more_than_epsilon_allows_fails_the_trial_with_both_numbers():
    noise = accounting.solve_noise(1, delta=1e-5, accountant="rdp", **RULE)
    refuse_broken_claim([scores(0.2)], spent(noise), None, seed=0)
    refuse_broken_claim([scores(3)], None, None, seed=0)
    with pytest.raises(
        PrivacyError,
        match=r"at least [\d.]+ % of the members at [\d.]+ % .*allows at most [\d.]+ %",
    ):
        refuse_broken_claim([scores(3)], spent(noise), None, seed=0)


def test_attacks_on_several_models_are_held_against_the_curve_together():
    """Each model alone has too few examples to tell."""
    noise = accounting.solve_noise(1, delta=1e-5, accountant="rdp", **RULE)
    rng = np.random.default_rng(0)
    inside = np.array([rng.permutation(120) < 60 for _ in range(32)])
    said = rng.normal(size=inside.shape) + 0.9 * inside
    one = rows_of_models("rmia", said[:1], inside[:1])
    refuse_broken_claim([one], spent(noise), None, seed=0)
    every = rows_of_models("rmia", said, inside)
    with pytest.raises(PrivacyError, match="'rmia of 32 models' finds at least"):
        refuse_broken_claim([every], spent(noise), None, seed=0)
    refuse_broken_claim([every], spent(noise), 100, seed=0)


def test_records_of_one_group_may_give_each_other_away():
    noise = accounting.solve_noise(1, delta=1e-5, accountant="rdp", **RULE)
    refuse_broken_claim([scores(3)], spent(noise), 100, seed=0)


def test_the_bounds_of_a_rate_hold_as_often_as_they_say():
    rng = np.random.default_rng(0)
    draws = (rng.random((2000, 100)) < 0.1).sum(axis=1)
    assert np.mean(least_rate(draws, 100, 0.05) > 0.1) < 0.06
    assert np.mean(most_rate(draws, 100, 0.05) < 0.1) < 0.06
    assert (least_rate(0, 9, 0.05), most_rate(9, 9, 0.05)) == (0, 1)


@pytest.mark.parametrize("records", [2, 4])
def test_a_batch_of_all_members_has_all_records_of_a_person(records):
    rule = {"delta": 1e-5, "steps": 10, "records": records}
    of_all = tradeoff.epsilon_by_pld(12.8, sample_rate=1.0, **rule)
    assert of_all == pytest.approx(
        tradeoff.epsilon_by_pld(12.8, sample_rate=1 - 1e-6, **rule), rel=1e-3
    )
    one_record = tradeoff.epsilon_by_pld(12.8 / records, sample_rate=1.0, delta=1e-5, steps=10)
    assert of_all == pytest.approx(one_record, rel=1e-3)
