"""How far apart hits and false alarms show two distributions to be, and which epsilon that is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import brentq

from raysweep.attacks.intervals import least_rate, most_rate
from raysweep.defences.dpsgd.tradeoff import most_found


def separation(
    found: ArrayLike, n_in: int, alarms: ArrayLike, n_out: int, *, alpha: float
) -> NDArray[np.float64]:
    """Return how far apart two normal distributions at least are that give such hits and alarms.

    It is in standard deviations, at least 0, and wrong with a chance of ``alpha``.
    """
    hits = least_rate(found, n_in, alpha / 2)
    false = most_rate(alarms, n_out, alpha / 2)
    apart = special.ndtri(hits) - special.ndtri(false)
    return np.asarray(np.nan_to_num(apart, neginf=0.0, posinf=0.0).clip(0))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon at ``delta`` of normal distributions ``mu`` apart (Balle & Wang 2018)."""

    def excess(epsilon: float) -> float:
        above = special.ndtr(mu / 2 - epsilon / mu)
        below = np.exp(epsilon + special.log_ndtr(-mu / 2 - epsilon / mu))
        return float(above - below - delta)

    if mu <= 0 or excess(0) <= 0:
        return 0.0
    return float(brentq(excess, 0, mu * mu + 40 * mu + 1))


def separation_of_ideal(n: int, noise: float, *, alpha: float, **rule: Any) -> float:
    """Return what the best attacker shows on ``n`` canaries inside and ``n`` outside, on average.

    ``rule`` are the ``sample_rate`` and the ``steps`` of the mechanism.
    """
    rates = np.linspace(0.02, 0.5, 25)
    found = [n * most_found(float(rate), noise, **rule) for rate in rates]
    return float(separation(found, n, n * rates, n, alpha=alpha).max())
