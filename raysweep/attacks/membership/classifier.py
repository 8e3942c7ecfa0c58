"""The small classifier that tells members from nonmembers by a few numbers each. NumPy, float32.

On so few numbers an autograd engine is mostly overhead: by hand, a fit takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from raysweep.attacks.contract import Target
from raysweep.data import Split
from raysweep.training import signals
from raysweep.training.signals import Floats

Singles = NDArray[np.float32]

STEPS = 50  # more learn the known by heart: AUC .595 after 50, .590 after 200 (8 seeds)

HIDDEN = {"mlp": 64, "logistic": 0}

DECAY = 1e-4


def learn(
    lessons: Sequence[tuple[Target, Split, Split]],
    *,
    kind: str,
    top: int | None,
    seed: int,
) -> Callable[[Target, Split], Floats]:
    """Return a function from (target, examples) to log-odds of membership, (n,).

    A lesson is a model, members of it and nonmembers. Learnt and read off are the ``top`` highest
    posteriors (None: all), sorted; ``kind`` is ``mlp`` (64 units) or ``logistic``.
    """

    def posteriors(target: Target, examples: Split) -> Floats:
        return signals.sorted_log_odds(target.logits(examples), top or target.n_classes)

    features, truth = [], []
    for target, members, nonmembers in lessons:
        features += [posteriors(target, members), posteriors(target, nonmembers)]
        truth.append(np.repeat([True, False], [len(members), len(nonmembers)]))
    predict = fit(np.concatenate(features), np.concatenate(truth), hidden=HIDDEN[kind], seed=seed)
    return lambda target, examples: predict(posteriors(target, examples))


def fit(
    features: Floats, truth: NDArray[np.bool_], *, hidden: int, seed: int
) -> Callable[[Floats], Floats]:
    """Return a function from features (n, k) to log-odds of membership (n,).

    One layer of ``hidden`` ReLU units (0: logistic regression), both classes weighing the same,
    full batches, Adam, on standardised features.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6

    def inputs(others: Floats) -> Singles:
        ones = np.ones((len(others), 1))
        return np.concatenate([(others - mean) / spread, ones], axis=1).astype(np.float32)

    x, y = inputs(features), truth.astype(np.float32)
    weight = np.where(truth, 0.5 / y.mean(), 0.5 / (1 - y.mean())).astype(np.float32) / len(y)
    network = _Network(x.shape[1], hidden, seed=seed)
    optimizer = _Adam(len(network.values), learning_rate=0.01 if hidden else 0.1)
    for _ in range(STEPS):
        slope = network.slope(x, lambda odds: weight * (special.expit(odds) - y))
        network.values -= optimizer.step(slope + DECAY * network.values)
    return lambda others: network.odds(inputs(others)).astype(np.float64)


class _Network:
    """From inputs (n, k), the last of them 1, to log-odds (n,); its parameters are one vector."""

    def __init__(self, k: int, hidden: int, *, seed: int) -> None:
        rng, cut = np.random.default_rng(seed), k * hidden
        bounds = np.repeat([(k - 1) ** -0.5, max(hidden, k - 1) ** -0.5], [cut, hidden or k - 1])
        bounds = np.append(bounds, bounds[-1])
        self.values = (rng.uniform(-1, 1, len(bounds)) * bounds).astype(np.float32)
        self._first = self.values[:cut].reshape(hidden, k)
        self._last = self.values[cut:]

    def _units(self, x: Singles) -> Singles:
        units: Singles = np.maximum(x @ self._first.T, 0)
        return units

    def odds(self, x: Singles) -> Singles:
        odds: Singles = (
            self._units(x) @ self._last[:-1] + self._last[-1]
            if len(self._first)
            else x @ self._last
        )
        return odds

    def slope(self, x: Singles, error: Callable[[Singles], Singles]) -> Singles:
        """Return the gradient of the loss whose derivative by each log-odds is ``error``."""
        if not len(self._first):
            return error(self.odds(x)) @ x
        units = self._units(x)
        errors = error(units @ self._last[:-1] + self._last[-1])
        last = np.append(errors @ units, errors.sum())
        first = ((units > 0) * errors[:, None]).T @ x * self._last[:-1, None]
        return np.concatenate([first.ravel(), last])


class _Adam:
    """Adam (Kingma & Ba 2015) on one vector, with the usual decay rates."""

    def __init__(self, size: int, *, learning_rate: float) -> None:
        self._mean, self._square = np.zeros((2, size), np.float32)
        self._rate, self._steps = learning_rate, 0

    def step(self, slope: Singles) -> Singles:
        """Return what is to be taken off."""
        self._steps += 1
        self._mean += 0.1 * (slope - self._mean)
        self._square += 0.001 * (slope * slope - self._square)
        spread = np.sqrt(self._square / (1 - 0.999**self._steps)) + 1e-8
        change: Singles = self._rate / (1 - 0.9**self._steps) * self._mean / spread
        return change
