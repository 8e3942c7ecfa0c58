"""What any attacker can reach against a training with DP-SGD, by privacy loss distributions.

A privacy loss distribution (PLD, Koskela et al. 2020) holds the whole trade-off between false
alarms and members found, of which an (epsilon, delta) is one point. Distributions are those of
dp-accounting, rounded against us by its connected dots (Doroshenko et al. 2022).
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.defences.dpsgd.accounting import epsilon_spent
from raysweep.errors import PrivacyError

if TYPE_CHECKING:
    from raysweep.training.recipe import PrivacySpent

RATES = (0.001, 0.01, 0.1)
"""The false-positive rates at which a trial records what any attacker can reach."""

LIMIT = 100.0
"""The largest epsilon of one record by RDP of which a distribution is computed."""

LIMIT_OF_GROUP = 300.0
"""The largest of that epsilon times the records of a group of which one is computed."""

SETTINGS = (
    "connected dots; interval 1e-2 / sqrt(steps), in [2e-4, 2e-3], x min(records x RDP's epsilon "
    "at 1e-5, 5; of a group 50), at least 1e-5"
)


@lru_cache(maxsize=256)
def loss_distribution(noise: float, sample_rate: float, steps: int, records: int = 1) -> Any:
    """Return dp-accounting's PLD of ``steps`` steps; None where epsilon is too large.

    It is for ``records`` records of one person, each of which is in a batch by its own draw: the
    clipped sum then has a binomial number of their gradients (Ganesh 2024).
    """
    from dp_accounting.pld import privacy_loss_distribution as pld

    try:
        epsilon, _ = epsilon_spent(
            noise, delta=1e-5, sample_rate=sample_rate, steps=steps, accountant="rdp"
        )
    except PrivacyError:
        return None
    if epsilon > LIMIT or (records > 1 and records * epsilon > LIMIT_OF_GROUP):
        return None

    # Each step is rounded by about the square of the interval, so fewer steps allow a larger one:
    # rates are then up to 0.04 % above those of the least, of a group up to 0.4 %.
    share = max(2e-4, min(2e-3, 1e-2 / steps**0.5))
    interval = max(1e-5, share * min(epsilon * records, 5 if records == 1 else 50))
    if records == 1 or sample_rate == 1:  # a batch of all members has all records of a person
        one = pld.from_gaussian_mechanism(
            noise / records, sampling_prob=sample_rate, value_discretization_interval=interval
        )
    else:
        from scipy.stats import binom  # here, because it takes a second to import

        numbers = np.arange(records + 1)
        one = pld.from_mixture_gaussian_mechanism(
            noise,
            numbers.astype(float).tolist(),
            binom.pmf(numbers, records, sample_rate).tolist(),
            value_discretization_interval=interval,
        )
    return one.self_compose(steps)


def epsilon_by_pld(
    noise: float, *, delta: float, sample_rate: float, steps: int, records: int = 1
) -> float:
    """Return the epsilon of ``steps`` steps for ``records`` records of a person; inf: unknown."""
    if steps == 0:
        return 0.0
    found = loss_distribution(noise, sample_rate, steps, records)
    return inf if found is None else float(found.get_epsilon_for_delta(delta))


@lru_cache(maxsize=256)
def _points(
    noise: float, sample_rate: float, steps: int, records: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return epsilons from 0 and the least delta of each, (n,) and (n,); None: no answer."""
    found = loss_distribution(noise, sample_rate, steps, records)
    if found is None:
        return None
    last = max(1e-3, min(2 * LIMIT_OF_GROUP, float(found.get_epsilon_for_delta(1e-9))))
    epsilons = np.linspace(0, last, 250)
    return epsilons, np.asarray(found.get_delta_for_epsilon(epsilons))


def most_found(
    fpr: float, noise: float, *, sample_rate: float, steps: int, records: int = 1
) -> float:
    """Return the largest true-positive rate of any attacker at the false-positive rate ``fpr``.

    Both are chances over the training's own noise and batches, in [0, 1]. The attacker may know
    every record but the one in question, and the weights after each step.
    """
    if steps == 0:
        return fpr
    points = _points(noise, sample_rate, steps, records)
    if points is None:
        return 1.0

    epsilons, deltas = points
    low = np.exp(epsilons) * fpr + deltas
    high = 1 - np.exp(-epsilons) * (1 - deltas - fpr)
    return float(np.clip(np.minimum(low, high), 0, 1).min())


def bounds_of(epsilon: float, delta: float) -> dict[str, float]:
    """Return the columns on what any attacker can reach that follow from (epsilon, delta) alone."""
    found = {}
    for rate in RATES:
        most = min(exp(epsilon) * rate + delta, 1 - exp(-epsilon) * (1 - delta - rate), 1.0)
        found[column_of(rate)] = most
    return found


def column_of(rate: float) -> str:
    """Return the name of the column of a bound at a false-positive rate."""
    return f"tpr_bound_at_fpr_{str(rate).replace('.', '_')}"


def curve(
    noise: float, *, sample_rate: float, steps: int, records: int = 1, n: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false-positive rates from 1e-4 to 1 and the largest true-positive rates, (n,) each."""
    rates = np.geomspace(1e-4, 1, n)
    rule: dict[str, Any] = {"sample_rate": sample_rate, "steps": steps, "records": records}
    return rates, np.array([most_found(float(rate), noise, **rule) for rate in rates])


def columns(spent: PrivacySpent, group_records: int | None) -> dict[str, Any]:
    """Return the columns of a trial on what any attacker can reach, and on a group's epsilon."""
    if group_records is None:
        return bounds_on(spent)
    of_group = spent.epsilon
    if group_records > 1:
        of_group = epsilon_by_pld(
            spent.noise_multiplier,
            delta=spent.delta,
            sample_rate=spent.sample_rate,
            steps=spent.steps,
            records=group_records,
        )
    return {**bounds_on(spent), "epsilon_per_group": of_group}


def bounds_on(spent: PrivacySpent, *, records: int = 1) -> dict[str, Any]:
    """Return the columns on what any attacker finds of ``records`` records of one person."""
    rule: dict[str, Any] = {"sample_rate": spent.sample_rate, "steps": spent.steps}
    return {
        column_of(rate): most_found(rate, spent.noise_multiplier, records=records, **rule)
        for rate in RATES
    }
