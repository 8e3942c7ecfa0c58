"""The attacker's classifier: from the posteriors of an example to its log-odds of membership.

The network is small, so it is written in NumPy: a fit takes a quarter of the time that it takes
with an autograd engine. All values are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from raysweep.attacks.contract import Target
from raysweep.attacks.shadows import TrainedShadow
from raysweep.config import sub_seed
from raysweep.data import Split
from raysweep.training import signals
from raysweep.training.signals import Floats

Singles = NDArray[np.float32]

STEPS = 50  # more steps overfit: AUC .595 after 50, .590 after 200 (8 seeds)

HIDDEN = {"mlp": 64, "logistic": 0}

DECAY = 1e-4

Score = Callable[[Target, Split], Floats]
"""A function from (target, examples) to the log-odds of membership, (n,)."""


def train_on_shadows(shadows: Sequence[TrainedShadow], *, kind: str, seed: int) -> Score:
    """Return a classifier trained on the three highest posteriors of the shadows' examples."""
    return train_classifier(
        [(shadow.target, shadow.members, shadow.nonmembers) for shadow in shadows],
        kind=kind,
        top=3,
        seed=sub_seed(seed, "classifier"),
    )


def train_classifier(
    models: Sequence[tuple[Target, Split, Split]], *, kind: str, top: int | None, seed: int
) -> Score:
    """Return a classifier trained on models with their members and nonmembers.

    Its inputs are an example's ``top`` highest posteriors (None: all), sorted. ``kind`` is ``mlp``
    (64 hidden units) or ``logistic``.
    """

    def posteriors(target: Target, examples: Split) -> Floats:
        return signals.sorted_log_odds(target.logits(examples), top or target.n_classes)

    features, is_member = [], []
    for model, members, nonmembers in models:
        features += [posteriors(model, members), posteriors(model, nonmembers)]
        is_member.append(np.repeat([True, False], [len(members), len(nonmembers)]))

    predict = fit_classifier(
        np.concatenate(features), np.concatenate(is_member), hidden=HIDDEN[kind], seed=seed
    )
    return lambda target, examples: predict(posteriors(target, examples))


def fit_classifier(
    features: Floats, is_member: NDArray[np.bool_], *, hidden: int, seed: int
) -> Callable[[Floats], Floats]:
    """Return a function from features (n, k) to log-odds of membership (n,).

    The network has one layer of ``hidden`` ReLU units (0: logistic regression). It is trained by
    Adam on full batches of standardised features, and both classes have equal weight.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6

    def inputs(raw: Floats) -> Singles:
        ones = np.ones((len(raw), 1))
        return np.concatenate([(raw - mean) / spread, ones], axis=1).astype(np.float32)

    x, y = inputs(features), is_member.astype(np.float32)
    weight = np.where(is_member, 0.5 / y.mean(), 0.5 / (1 - y.mean())).astype(np.float32) / len(y)

    network = Network(x.shape[1], hidden, seed=seed)
    optimizer = _Adam(len(network.values), learning_rate=0.01 if hidden else 0.1)
    for _ in range(STEPS):
        slope = network.slope(x, lambda odds: weight * (special.expit(odds) - y))
        network.values -= optimizer.step(slope + DECAY * network.values)

    return lambda raw: network.odds(inputs(raw)).astype(np.float64)


class Network:
    """A network from inputs (n, k) to log-odds (n,); the last input is 1 and stands for the bias.

    ``values`` holds all parameters in one vector: the first layer, then the last one. With 0
    ``hidden`` units there is only the last layer.
    """

    def __init__(self, k: int, hidden: int, *, seed: int) -> None:
        rng, n_first = np.random.default_rng(seed), k * hidden

        # Every parameter is uniform in +-1 / sqrt(inputs of its layer), as in torch.nn.Linear.
        n_last = hidden or k - 1
        bounds = np.repeat([(k - 1) ** -0.5, max(hidden, k - 1) ** -0.5], [n_first, n_last])
        bounds = np.append(bounds, bounds[-1])

        self.values = (rng.uniform(-1, 1, len(bounds)) * bounds).astype(np.float32)
        self._first = self.values[:n_first].reshape(hidden, k)
        self._last = self.values[n_first:]

    def odds(self, x: Singles) -> Singles:
        """Return the log-odds of inputs ``x``, (n,)."""
        if not len(self._first):
            odds: Singles = x @ self._last
            return odds
        return self._last_layer(self._units(x))

    def slope(self, x: Singles, error: Callable[[Singles], Singles]) -> Singles:
        """Return the gradient by ``values``; ``error`` maps log-odds to the loss's derivatives."""
        if not len(self._first):
            return error(self.odds(x)) @ x
        units = self._units(x)
        errors = error(self._last_layer(units))
        last = np.append(errors @ units, errors.sum())
        first = ((units > 0) * errors[:, None]).T @ x * self._last[:-1, None]
        return np.concatenate([first.ravel(), last])

    def _units(self, x: Singles) -> Singles:
        units: Singles = np.maximum(x @ self._first.T, 0)
        return units

    def _last_layer(self, units: Singles) -> Singles:
        odds: Singles = units @ self._last[:-1] + self._last[-1]
        return odds


class _Adam:
    """Adam (Kingma & Ba 2015) on one vector, with the usual decay rates."""

    def __init__(self, size: int, *, learning_rate: float) -> None:
        self._mean, self._square = np.zeros((2, size), np.float32)
        self._rate, self._steps = learning_rate, 0

    def step(self, slope: Singles) -> Singles:
        """Return the update to subtract."""
        self._steps += 1
        self._mean += 0.1 * (slope - self._mean)
        self._square += 0.001 * (slope * slope - self._square)
        spread = np.sqrt(self._square / (1 - 0.999**self._steps)) + 1e-8
        change: Singles = self._rate / (1 - 0.9**self._steps) * self._mean / spread
        return change
