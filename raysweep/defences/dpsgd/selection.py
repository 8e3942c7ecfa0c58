"""What the choice of the best of a random number of trainings costs (Papernot & Steinke 2022)."""

from __future__ import annotations

import logging
import secrets
from functools import lru_cache
from math import comb, floor, inf, log, log1p, pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysweep.defences.dpsgd.accounting import ORDERS, epsilon_at, epsilon_spent
from raysweep.defences.dpsgd.tradeoff import LIMIT_OF_GROUP

Distribution = Literal["geometric", "logarithmic"]

SHAPES: dict[Distribution, float] = {"geometric": 1.0, "logarithmic": 0.0}
"""Law of the number of trainings -> its shape as a truncated negative binomial law."""


SETTINGS = (
    "the best of a {distribution} number of trainings, mean {mean:g}, by RDP (Papernot and "
    "Steinke 2022)"
)

ORDERS_OF_GROUP = tuple(order for order in ORDERS if order <= 64)


def draw_number(distribution: Distribution, mean: float) -> int:
    """Return a number >= 1 drawn from ``distribution`` by the operating system's entropy.

    Of the logarithmic law the chance of k is proportional to (1 - gamma)**k / k.
    """
    uniform = secrets.SystemRandom().random()
    if distribution == "geometric":
        return 1 + floor(log1p(-uniform) / log1p(-1 / mean))

    gamma, number = gamma_of_mean(mean), 1
    chance = (1 - gamma) / -log(gamma)
    while uniform >= chance and chance > 0:
        uniform -= chance
        chance *= (1 - gamma) * number / (number + 1)
        number += 1
    return number


@lru_cache(maxsize=16)
def gamma_of_mean(mean: float) -> float:
    """Return the parameter of the logarithmic law of this mean > 1, in (0, 1)."""
    low, high = 0.0, 1.0
    for _ in range(200):
        gamma = (low + high) / 2
        if (1 / gamma - 1) / -log(gamma) > mean:
            low = gamma
        else:
            high = gamma
    return high


@lru_cache(maxsize=256)
def epsilon_of_choice(
    noise: float,
    *,
    delta: float,
    sample_rate: float,
    steps: int,
    mean: float,
    distribution: Distribution,
) -> float:
    """Return the epsilon at ``delta`` of the best of a random number of trainings, by RDP.

    The number is drawn from ``distribution`` with mean ``mean`` >= 1, independently of the data,
    and not told. Each training spends at most what ``steps`` steps with ``noise`` spend, its
    settings are drawn by a law that has not seen the data, and only the winner is released.
    """
    import dp_accounting as dp
    from dp_accounting.dp_event import RepeatAndSelectDpEvent
    from dp_accounting.rdp import RdpAccountant

    gaussian = dp.GaussianDpEvent(noise)
    one = dp.PoissonSampledDpEvent(sample_rate, gaussian) if sample_rate < 1 else gaussian
    training = dp.SelfComposedDpEvent(one, steps)
    accountant = RdpAccountant(list(ORDERS))

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it leaves orders out that do not converge: others are less
    try:
        accountant.compose(RepeatAndSelectDpEvent(training, mean, SHAPES[distribution]))
        return float(accountant.get_epsilon(delta))
    finally:
        logger.setLevel(level)


@lru_cache(maxsize=256)
def epsilon_of_group_choice(
    noise: float,
    *,
    records: int,
    delta: float,
    sample_rate: float,
    steps: int,
    mean: float,
    distribution: Distribution,
) -> float:
    """Return :func:`epsilon_of_choice` for ``records`` records of one person; inf: unknown."""
    one, _ = epsilon_spent(
        noise, delta=delta, sample_rate=sample_rate, steps=steps, accountant="rdp"
    )
    if records * one > LIMIT_OF_GROUP:
        return inf

    orders = np.array(ORDERS_OF_GROUP)
    rdp = steps * _divergences(noise, sample_rate, records)
    chance = 1 / mean if distribution == "geometric" else gamma_of_mean(mean)
    shape = SHAPES[distribution]
    of_choice = (1 + shape) * np.min((1 - 1 / orders) * rdp - log(chance) / orders)
    return epsilon_at(ORDERS_OF_GROUP, rdp + log(mean) / (orders - 1) + of_choice, delta)


def _divergences(noise: float, sample_rate: float, records: int) -> NDArray[np.float64]:
    """Return the Renyi divergence of a step with ``records`` records from one without, by order.

    At worst all their gradients are alike, and a binomial number of them is in the batch (Ganesh
    2024). It is the larger of both directions, by the trapezium rule.
    """
    step = noise / max(16, 8 * records / noise)
    end = ORDERS_OF_GROUP[-1] * records + 12 * noise
    x = np.arange(-end, end, step)
    density = -((x / noise) ** 2) / 2 - log(noise * (2 * pi) ** 0.5)

    ratio = np.full(len(x), -inf)
    for k in range(records + 1):
        chance = comb(records, k) * sample_rate**k * (1 - sample_rate) ** (records - k)
        if chance > 0:
            ratio = np.logaddexp(ratio, log(chance) + k * (2 * x - k) / (2 * noise**2))

    def divergence(order: float, power: float) -> float:
        terms = density + power * ratio
        most = float(terms.max())
        return (most + log(float(np.exp(terms - most).sum()) * step)) / (order - 1)

    return np.array(
        [max(divergence(order, order), divergence(order, 1 - order)) for order in ORDERS_OF_GROUP]
    )
