"""What the choice of the best of a random number of trainings costs (Papernot & Steinke 2022)."""

from __future__ import annotations

import logging
import secrets
from functools import lru_cache
from math import floor, log, log1p
from typing import Literal

from raysweep.defences.dpsgd.accounting import ORDERS

Distribution = Literal["geometric", "logarithmic"]

SHAPES: dict[Distribution, float] = {"geometric": 1.0, "logarithmic": 0.0}
"""Law of the number of trainings -> its shape as a truncated negative binomial law."""


SETTINGS = (
    "the best of a {distribution} number of trainings, mean {mean:g}, by RDP (Papernot and "
    "Steinke 2022)"
)


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
