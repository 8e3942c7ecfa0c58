"""Audit DP-SGD by canaries: gradients that are put into its private step by independent coins.

All canaries go through one run of the mechanism that trainings use (Steinke et al. 2023), with the
user's model and settings. Each canary is one parameter's gradient of the clipping norm, so that
canaries are orthogonal. The attacker sees every noisy sum. What the sums say of a canary is
compared with its coin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor, nn

from raysweep.attacks.intervals import least_rate, most_rate
from raysweep.defences.dpsgd.tradeoff import most_found
from raysweep.trial.rates import (
    gaussian_epsilon,
    separation,
    separation_of_ideal,
)

if TYPE_CHECKING:
    from raysweep.defences.dpsgd.gradients import PrivateGradients
    from raysweep.training.recipe import PrivacySpent


MOST_CANARIES = 2000

ALPHA = 0.05
"""The chance at which the epsilons that are shown are too large."""

STEPS = 40
"""About how many steps a run takes; a whole epoch at least."""


class Canaries:
    """A clipping whose examples are canaries: the gradient of canary i is at ``places[i]``.

    An input of the mechanism is the number of a canary, (n, 1).
    """

    name = "canaries"
    bytes_per_example = 1

    def __init__(
        self, parameters: Sequence[nn.Parameter], n: int, max_grad_norm: float, *, seed: int
    ) -> None:
        self._parameters, self._norm = parameters, max_grad_norm
        d = sum(p.numel() for p in parameters)
        generator = torch.Generator().manual_seed(seed)
        self.places = torch.randperm(d, generator=generator)[: min(n, d)]
        self._sum = torch.zeros(d)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``: a canary has no logits."""
        return x

    def add(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Add the gradients of the canaries ``x``; return zeros, their losses."""
        self._sum[self.places[x[:, 0].long()]] += self._norm
        return torch.zeros(len(x))

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""
        parts = self._sum.split([p.numel() for p in self._parameters])
        self._sum = torch.zeros_like(self._sum)
        return [(p, part.view(p.shape)) for p, part in zip(self._parameters, parts, strict=True)]

    def release(self) -> None:
        """Do nothing: there are no hooks."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What one run showed: epsilons with 95 % certainty, and whether the claim is broken.

    The epsilons are those of the Gaussian mechanism that gives the same hits and false alarms.
    """

    claimed: float
    shown: float
    could_have_shown: float
    n: int
    is_broken: bool


def run(
    mechanism: PrivateGradients,
    canaries: Canaries,
    parameters: Sequence[nn.Parameter],
    coins: Tensor,
    *,
    epochs: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return what all noisy sums together say of each canary, (m,): higher means that it is in.

    ``mechanism`` clips by ``canaries``. One whose coin is 0 is replaced by nothing in every batch.
    """
    order, said = torch.Generator().manual_seed(seed), torch.zeros(len(coins), dtype=torch.float64)
    for _ in range(epochs):
        for batch in mechanism.batches(order):
            rows = batch[coins[batch] > 0]
            mechanism.gradients(canaries.forward, rows[:, None].float())
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            said += torch.cat([g.flatten() for g in gradients])[canaries.places]
    return said.numpy()


def audit(
    said: NDArray[np.float64],
    coins: NDArray[np.bool_],
    spent: PrivacySpent,
    *,
    level: float,
    seed: int,
) -> Audit:
    """Return what scores (m,) show of coins (m,): a threshold by one half, bounds by the other.

    ``level`` is the chance at which a right mechanism is called broken: its own trade-off curve is
    then exceeded.
    """
    first = np.random.default_rng(seed).random(len(said)) < 0.5
    threshold = _best_threshold(said[first], coins[first])
    says, inside = said[~first] > threshold, coins[~first]
    found, alarms = int((says & inside).sum()), int((says & ~inside).sum())
    n_in, n_out = int(inside.sum()), int((~inside).sum())

    rule: dict[str, Any] = {"sample_rate": spent.sample_rate, "steps": spent.steps}
    noise, n = spent.noise_multiplier, len(said) // 4
    tpr, fpr = least_rate(found, n_in, level / 2), most_rate(alarms, n_out, level / 2)
    mu = separation(found, n_in, alarms, n_out, alpha=ALPHA)
    ideal = separation_of_ideal(n, noise, alpha=ALPHA, **rule)
    return Audit(
        claimed=spent.epsilon,
        shown=gaussian_epsilon(float(mu), spent.delta),
        could_have_shown=gaussian_epsilon(ideal, spent.delta),
        n=len(said),
        is_broken=bool(tpr > most_found(float(fpr), noise, **rule)),
    )


def _best_threshold(said: NDArray[np.float64], coins: NDArray[np.bool_]) -> float:
    """Return the threshold that separates the coins best if scores of each are normal.

    Rates are those of normal distributions with the mean and the deviation of the scores: the
    counts themselves would be the best at a threshold by chance.
    """
    order, inside, outside = np.sort(said), said[coins], said[~coins]

    def above(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        spread = scores.std() + 1e-300
        return np.asarray(len(scores) * ndtr((scores.mean() - order) / spread))

    found, alarms = above(inside), above(outside)
    shown = separation(found, len(inside), alarms, len(outside), alpha=ALPHA)
    return float(order[shown.argmax()]) if shown.max() > 0 else float(np.median(said))
