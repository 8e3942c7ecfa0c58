"""Privacy accounting: epsilon from the noise multiplier, and back, by Opacus' accountants.

Each step is the Poisson-subsampled Gaussian mechanism, at a rate and for a number of steps that
do not depend on whether one example is there. PRV (Gopi et al. 2021) uses its upper bound, from
epsilon 0.05 to 100, with an error of 1 % of epsilon and at most 0.01. Above 100 PRV's grid does
not fit in memory. There, and where PRV's error is more than it gains, RDP is used: with the orders
below, and the conversion to (epsilon, delta) of Balle et al. 2020. Each record names the
accountant that was used.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from bisect import bisect, insort
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from math import exp, inf, isfinite, log, log2
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from raysweep.config.plain_text import counted
from raysweep.errors import PrivacyError

AccountantName = Literal["rdp", "prv"]

WHOLE_ORDERS = tuple(
    float(order) for order in (*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 1024)
)

FRACTIONAL_ORDERS = (1.01, 1.05, *np.arange(1.1, 2.0, 0.1).round(1), *np.arange(2.25, 6, 0.25))

ORDERS = tuple(sorted({float(order) for order in (*WHOLE_ORDERS, *FRACTIONAL_ORDERS)}))

PRV_LIMIT = 100.0

PRV_LEAST = 0.05

PRV_ERROR = 0.01
"""The error of PRV's upper bound: this share of epsilon, and at most this much."""

CLOSE = 0.995
"""The least share of a target epsilon that noise by PRV spends. Each step of the search is slow."""

SETTINGS = {
    "rdp": f"{len(ORDERS)} orders {ORDERS[0]:g} - {ORDERS[-1]:g}; conversion of Balle et al. 2020",
    "prv": "upper bound; eps_error 0.01 and at most 1 % of epsilon, delta_error delta/1000",
}

NOISE_RANGE = (1e-4, 1e5)


@cache
def _opacus(name: str) -> ModuleType:
    """Return ``opacus.accountants.analysis.NAME``, which needs none of the rest of Opacus.

    That takes 2 s to import: optimizers, torch.distributed, sympy, scipy.stats.
    """
    package = importlib.util.find_spec("opacus")
    assert package is not None
    assert package.origin is not None
    accountants = ModuleType("_opacus_accountants")
    accountants.__path__ = [str(Path(package.origin).parent / "accountants")]
    by_rdp = ModuleType("_opacus_accountants.rdp")  # what bounds PRV's domain in Opacus, not here
    by_rdp.RDPAccountant = None  # type: ignore[attr-defined]

    sys.modules.setdefault(accountants.__name__, accountants)
    sys.modules.setdefault(by_rdp.__name__, by_rdp)
    return importlib.import_module(f"{accountants.__name__}.analysis.{name}")


@lru_cache(maxsize=2**16)
def _one_step(noise_multiplier: float, sample_rate: float, order: float) -> float:
    """Return the Renyi divergence of one step at an order. Divergences of steps add up."""
    rdp = _opacus("rdp").compute_rdp(
        q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=order
    )
    return float(rdp)


def _rdp_epsilon(
    noise: float, sample_rate: float, steps: int, delta: float, orders: tuple[float, ...] = ORDERS
) -> float:
    """Return the epsilon at ``delta`` of ``steps`` steps by RDP, the least that any order gives.

    An order that gives more than the least even with the divergence that orders beside it imply is
    left out, and the least stays the same. That is most of the time: a few orders far apart come
    first, and those between whole numbers, which are slow, last.
    """
    rdp = np.full(len(orders), inf)
    least, known = inf, [(1.0, 0.0)]  # orders, ascending, and their divergences times order - 1
    for i in _search_order(orders):
        order, added = orders[i], _added(orders[i], delta)
        if _least_divergence(order, known) + added <= least:
            rdp[i] = _one_step(noise, sample_rate, order) * steps
            least = min(least, rdp[i] + added)
            if isfinite(rdp[i]):
                insort(known, (order, float(rdp[i]) * (order - 1)))
    return epsilon_at(orders, rdp, delta)


def _least_divergence(order: float, known: list[tuple[float, float]]) -> float:
    """Return a lower bound of the divergence at an order.

    The divergence times order - 1 is convex in the order (van Erven and Harremoes 2014), so it lies
    above the lines through the two ``known`` points next to it on either side.
    """
    place = bisect(known, (order, inf))
    bound = 0.0
    for points in (known[max(0, place - 2) : place], known[place : place + 2]):
        if len(points) == 2:
            (one, at_one), (two, at_two) = points
            line = at_one + (at_two - at_one) / (two - one) * (order - one)
            bound = max(bound, line)
    return (1 - 1e-9) * bound / (order - 1)  # less what rounding may add


@cache
def _search_order(orders: tuple[float, ...]) -> tuple[int, ...]:
    """Return the places of orders: first powers of two, then whole numbers, then those between."""

    def turn(i: int) -> tuple[bool, bool, int]:
        return not orders[i].is_integer(), not log2(orders[i]).is_integer(), i

    return tuple(sorted(range(len(orders)), key=turn))


@lru_cache(maxsize=4096)
def _added(order: float, delta: float) -> float:
    """Return what the conversion to an epsilon at ``delta`` adds to the divergence at an order."""
    return epsilon_at((order,), 0.0, delta)


def epsilon_at(orders: tuple[float, ...], rdp: float | NDArray[np.float64], delta: float) -> float:
    """Return the least epsilon at ``delta`` that Renyi divergences (n,) at orders give."""
    with _ignore_order_advice():
        return float(_opacus("rdp").get_privacy_spent(orders=list(orders), rdp=rdp, delta=delta)[0])


@lru_cache(maxsize=4096)
def _prv_epsilon(noise: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return PRV's upper bound on the epsilon of ``steps`` steps; inf where it has no answer.

    It is Opacus' PRVAccountant with a domain bounded by our RDP, which is up to 5 times faster.
    """
    prv = _opacus("prv")
    error = PRV_ERROR * min(1.0, _rdp_epsilon(noise, sample_rate, steps, delta))
    delta_error = delta / 1000
    try:
        with _ignore_order_advice(), np.errstate(divide="ignore"):  # log 0 at a sample rate of 1
            domain = _domain(noise, sample_rate, steps, error, delta_error)
            loss = prv.PoissonSubsampledGaussianPRV(sample_rate, noise)
            one = prv.TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max)
            of_all = prv.compose_heterogeneous(
                dprvs=[prv.discretize(one, domain)], num_self_compositions=[steps]
            )
            return float(of_all.compute_epsilon(delta, delta_error, error)[2])
    except (ArithmeticError, RuntimeError, ValueError):  # it overflows where epsilon is large
        return inf


def _domain(
    noise: float, sample_rate: float, steps: int, eps_error: float, delta_error: float
) -> Any:
    """Return the grid of losses that bounds the errors as Gopi et al. 2021 ask for."""
    of_all = _rdp_epsilon(noise, sample_rate, steps, delta_error / 4)
    of_one = _rdp_epsilon(noise, sample_rate, 1, delta_error / (8 * steps))
    end = max(of_all, of_one, eps_error) + 3
    mesh = eps_error / (steps * log(12 / delta_error) / 2) ** 0.5
    return _opacus("prv").Domain.create_aligned(-end, end, mesh)


@contextlib.contextmanager
def _ignore_order_advice() -> Iterator[None]:
    """Silence Opacus' advice to widen the orders: wider ones gain nothing worth their time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is")
        yield


@lru_cache(maxsize=4096)
def epsilon_spent(
    noise_multiplier: float,
    *,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: AccountantName,
) -> tuple[float, AccountantName]:
    """Return the epsilon spent by ``steps`` steps at ``delta``, and the accountant that was used.

    Raises:
        PrivacyError: the epsilon is not a finite number >= 0.

    """
    if steps == 0:
        return 0.0, accountant

    epsilon = _rdp_epsilon(noise_multiplier, sample_rate, steps, delta)
    used: AccountantName = "rdp"
    if accountant == "prv" and PRV_LEAST <= epsilon <= 1.25 * PRV_LIMIT:
        by_prv = _prv_epsilon(noise_multiplier, sample_rate, steps, delta)
        if by_prv < epsilon:  # both hold; PRV's is larger where its error is most of it
            epsilon, used = by_prv, "prv"

    if not isfinite(epsilon) or epsilon < 0:
        raise PrivacyError(
            f"the {used} accountant must give a finite epsilon",
            got=epsilon,
            remedy="raise the noise multiplier",
        )
    return epsilon, used


def accountant_of_target(epsilon: float, accountant: AccountantName) -> AccountantName:
    """Return the accountant by which noise for a target epsilon is solved, and spent.

    Both must be the same one: PRV finds a tenth less in noise that RDP solved.
    """
    return "rdp" if PRV_LIMIT < epsilon < inf else accountant


def check_reachable(epsilon: float, *, delta: float, sample_rate: float, steps: int) -> None:
    """Raise :class:`PrivacyError` unless a noise multiplier in NOISE_RANGE spends ``epsilon``."""
    least, most = (_rdp_epsilon(x, sample_rate, steps, delta, WHOLE_ORDERS) for x in NOISE_RANGE)
    if most > epsilon or least < epsilon:
        raise PrivacyError(
            f"DP-SGD: epsilon {epsilon} at delta {delta} cannot be met in "
            f"{counted(steps, 'step')} by a noise multiplier in {NOISE_RANGE}",
            remedy="change epsilon or delta, or train for another number of steps",
        )


@lru_cache(maxsize=4096)
def solve_noise(
    epsilon: float,
    *,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: AccountantName,
) -> float:
    """Return a noise multiplier that spends at most ``epsilon``, and hardly less.

    It spends more than 0.99 of ``epsilon`` by the accountant.

    Raises:
        PrivacyError: no noise multiplier between 1e-4 and 1e5 is enough.

    """

    def by_rdp(noise: float) -> float:
        return _rdp_epsilon(noise, sample_rate, steps, delta)

    def by_whole_orders(noise: float) -> float:  # fast, and never below by_rdp
        return _rdp_epsilon(noise, sample_rate, steps, delta, WHOLE_ORDERS)

    check_reachable(epsilon, delta=delta, sample_rate=sample_rate, steps=steps)
    low, high = NOISE_RANGE
    # The whole orders are fast and bound the noise from above for the next, slower search.
    noise = _root(by_whole_orders, epsilon, low, high)
    noise = _root(by_rdp, epsilon, noise / 2, noise)
    if accountant_of_target(epsilon, accountant) == "prv" and epsilon >= PRV_LEAST:
        noise = _lowered(
            lambda noise: _prv_epsilon(noise, sample_rate, steps, delta), epsilon, noise
        )
    return noise


def _lowered(epsilon_of: Callable[[float], float], epsilon: float, noise: float) -> float:
    """Return the least noise that spends at most ``epsilon``, or CLOSE to it; at most ``noise``.

    ``noise`` itself is returned if it spends more than ``epsilon``, or if nothing closer is found
    in ten steps of regula falsi in logarithms, in which epsilons are nearly straight.
    """
    enough, gap = noise, log(epsilon_of(noise) / epsilon)
    too_little, excess = noise / 2, inf
    for _ in range(10):
        if gap > 0 or exp(gap) >= CLOSE:
            break
        aim = log(CLOSE) / 2 - gap  # how far to go, in the middle of what is close
        slope = log(enough / too_little) / (excess - gap) if excess < inf else 0.7
        middle = enough * exp(-aim * slope)
        if not too_little < middle < enough:
            middle = (too_little * enough) ** 0.5

        found = log(epsilon_of(middle) / epsilon)
        if found > 0:
            too_little, excess = middle, found
        else:
            enough, gap = middle, found
    return enough


def _root(epsilon_of: Callable[[float], float], epsilon: float, low: float, high: float) -> float:
    """Return the least noise that spends at most ``epsilon``, to within 0.05 %.

    ``high`` spends at most ``epsilon``. ``low`` is lowered until it spends more, down to the end of
    NOISE_RANGE.
    """

    def gap(x: float) -> float:
        return log(max(epsilon_of(exp(x)), 1e-300) / epsilon)

    while epsilon_of(low) <= epsilon and low > NOISE_RANGE[0]:
        low, high = low / 2, low
    if not epsilon_of(low) > epsilon > epsilon_of(high):
        return high

    # Search in logarithms: both numbers range over many orders of magnitude.
    noise = exp(brentq(gap, log(low), log(high), xtol=5e-4))
    while noise < high and epsilon_of(noise) > epsilon:  # high is enough, so this ends
        noise *= 1.0005
    return noise
