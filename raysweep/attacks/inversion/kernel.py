"""Kernel ridge regression from activations to pixels, in closed form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import inf, pi, sqrt
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysweep.attacks.inversion.decoder import Decoder
from raysweep.attacks.inversion.ridge import FeatureMap, solve

MOST_EXACT = 2000  # rows up to which the kernel's whole matrix is solved

N_SAMPLED = 1000  # rows that choose the width where there are more than MOST_EXACT

N_WAVES = 2000  # random Fourier features that stand for the kernel of more rows

WIDTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # gamma, as multiples of 1 / features

STRENGTHS = tuple(10.0**k for k in range(-6, 2))  # beside the kernel's diagonal of 1


class Choice(NamedTuple):
    """The width and the strength with the least error on held-out rows."""

    held_out_mse: float
    gamma: float
    strength: float


def fit_kernel(
    activations: Tensor, images: NDArray[np.float32], held_out: NDArray[np.bool_], *, seed: int
) -> Decoder:
    """Return RBF kernel ridge regression, its width and strength chosen on ``held_out`` rows.

    ``activations`` (n, features), ``images`` (n, pixels) in [0, 1]. The kernel of two standardised
    activations is exp(-gamma |a - b|^2). Many features are projected as in :func:`fit_ridge`. The
    decoder is refitted on all rows. The mean image is not shrunk, so it is the prediction far from
    all rows.

    Up to MOST_EXACT rows this is exact. For more, N_SAMPLED rows choose the width, and N_WAVES
    random Fourier features (Rahimi & Recht 2007), drawn by ``seed``, stand for the kernel. Memory
    and time then grow in proportion to the rows: 10,000 take about 15 s of one core.
    """
    standardised = _Standardised(activations, seed=seed)
    x, y = standardised(activations), torch.from_numpy(images).double()
    fitted = torch.from_numpy(~held_out)

    if len(x) <= MOST_EXACT:
        choice = choose(x, y, fitted)
        predict, error = _exact(x, y, choice), choice.held_out_mse
    else:
        rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(x))[:N_SAMPLED])
        gamma = choose(x[rows], y[rows], fitted[rows]).gamma
        predict, error = _by_waves(x, y, fitted, gamma, seed=seed)

    def decode(rows: Tensor) -> NDArray[np.float32]:
        return predict(standardised(rows)).clamp(0, 1).float().numpy()

    return Decoder(decode=decode, held_out_mse=error)


class _Standardised:
    """A map from activations to float64 columns, mean 0 and variance 1 on the given ones.

    A column that is constant there is 0 everywhere: no distance can be measured along it.
    """

    def __init__(self, activations: Tensor, *, seed: int) -> None:
        self._columns = FeatureMap(activations.shape[1], products=False, seed=seed)
        columns = self._columns(activations)
        spread = columns.std(dim=0)
        self._mean, self._spread = columns.mean(dim=0), spread.where(spread > 1e-6, inf)

    def __call__(self, activations: Tensor) -> Tensor:
        return (self._columns(activations) - self._mean) / self._spread


def choose(x: Tensor, y: Tensor, fitted: Tensor) -> Choice:
    """Return the best of WIDTHS and STRENGTHS, fitted to some rows and measured on the others.

    In most trials the error of a width falls and then rises with the strength, and the best
    strength of the next width is one more. So the search follows the error down from there, or
    from the least strength where the error is lower.
    """
    squares = torch.cdist(x, x[fitted]).square_()
    between, to_others = squares[fitted], squares[~fitted]
    mean, truth = y[fitted].mean(dim=0), y[~fitted]
    centred, last, best, choices = y[fitted] - mean, len(STRENGTHS) - 1, -1, []

    for width in WIDTHS:
        gamma = width / x.shape[1]
        gram, rows = between.mul(-gamma).exp_(), to_others.mul(-gamma).exp_()

        @functools.cache
        def error(k: int, gram: Tensor = gram, rows: Tensor = rows) -> float:
            """Return the error on held-out rows with strength number ``k``; inf: there is none."""
            if not 0 <= k <= last:
                return inf
            guess = rows @ _weights(gram.clone(), STRENGTHS[k], centred)
            return float(guess.add_(mean).clamp_(0, 1).sub_(truth).square_().mean())

        best = min(min(best + 1, last), 0, key=error)
        while (lower := min(best, best - 1, best + 1, key=error)) != best:
            best = lower
        choices.append(Choice(error(best), gamma, STRENGTHS[best]))

    return min(choices)


def _exact(x: Tensor, y: Tensor, choice: Choice) -> Callable[[Tensor], Tensor]:
    """Return the regression on all rows, from standardised columns to images."""
    mean = y.mean(dim=0)
    weights = _weights(_kernel(x, x, choice.gamma), choice.strength, y - mean)
    return lambda rows: _kernel(rows, x, choice.gamma) @ weights + mean


def _weights(gram: Tensor, strength: float, right: Tensor) -> Tensor:
    """Return (gram + strength)^-1 @ right; ``gram`` is overwritten."""
    gram.diagonal().add_(strength)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram))


def _kernel(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    return torch.cdist(a, b).square_().mul_(-gamma).exp_()


def _by_waves(
    x: Tensor, y: Tensor, fitted: Tensor, gamma: float, *, seed: int
) -> tuple[Callable[[Tensor], Tensor], float]:
    """Return the regression on random Fourier features, and its error on held-out rows."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(x.shape[1], N_WAVES, generator=generator, dtype=x.dtype)
    directions *= sqrt(2 * gamma)
    phases = 2 * pi * torch.rand(N_WAVES, generator=generator, dtype=x.dtype)

    def waves(rows: Tensor) -> Tensor:
        summed: Tensor = rows @ directions
        return summed.add_(phases).cos_()

    features = waves(x)
    centre = features.mean(dim=0)
    solution = solve(features.sub_(centre), y, fitted)

    def predict(rows: Tensor) -> Tensor:
        return (waves(rows) - centre) @ solution.weights + solution.mean_image

    return predict, solution.held_out_mse
