"""Ridge regression from activations to pixels, in closed form: no training can fall short."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysweep.attacks.inversion.decoder import Decoder

WIDEST = 2048  # features beyond this are projected onto as many random directions

NARROWEST = 62  # up to here, products of features are added: 62 give 2,015

LEAST = 1e-9  # added to every eigenvalue: a layer that is dead has none above 0

STRENGTHS = tuple(10.0**k for k in range(-7, 5))  # of the mean eigenvalue


def fit(
    activations: Tensor, images: NDArray[np.float32], held_out: NDArray[np.bool_], *, seed: int
) -> Decoder:
    """Return ridge regression, its strength chosen on ``held_out`` rows, refitted on all rows.

    ``activations`` (n, features), ``images`` (n, pixels) in [0, 1]. Few features gain their
    pairwise products; many are projected on a seeded random basis (memory). The mean image is not
    shrunk: activations that say nothing give it back.
    """
    widen = _widening(activations.shape[1], seed=seed)
    x, y = widen(activations), torch.from_numpy(images).double()
    mean, spread = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
    x, mean_image = (x - mean).div_(spread), y.mean(dim=0)
    fitted = torch.from_numpy(~held_out)
    few = len(x) < x.shape[1]  # then the Gram matrix of the rows is the smaller one
    gram = x @ x.T if few else x.T @ x
    errors = _held_out_errors(x, y, gram, fitted, few=few)
    best = int(np.argmin(errors))
    gram.diagonal().add_(STRENGTHS[best] * float(gram.trace()) / x.shape[1] + LEAST)
    factor, centred = torch.linalg.cholesky(gram), y - mean_image
    right = centred if few else x.T @ centred
    weights = torch.cholesky_solve(right, factor)
    weights = x.T @ weights if few else weights

    def decode(others: Tensor) -> NDArray[np.float32]:
        z = (widen(others) - mean) / spread
        return (z @ weights + mean_image).clamp(0, 1).float().numpy()

    return Decoder(decode=decode, held_out_mse=errors[best])


def _held_out_errors(
    x: Tensor, y: Tensor, gram: Tensor, fitted: Tensor, *, few: bool
) -> list[float]:
    """Return the error on the rows that are not ``fitted``, for each of STRENGTHS.

    ``gram`` is that of all rows: x @ x.T where rows are ``few``, else x.T @ x.
    """
    out, mean = x[~fitted], y[fitted].mean(dim=0)
    if few:
        gram, seen = gram[fitted][:, fitted], gram[~fitted][:, fitted]
        right = y[fitted] - mean
    else:
        gram, seen = gram - out.T @ out, out
        right = x[fitted].T @ (y[fitted] - mean)
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp_min(0)
    rotated, rotated_out = vectors.T @ right, seen @ vectors
    errors = []
    for strength in STRENGTHS:
        shrunk = rotated / (values + strength * values.sum() / x.shape[1] + LEAST)[:, None]
        guess = (rotated_out @ shrunk).add_(mean).clamp_(0, 1)
        errors.append(float(guess.sub_(y[~fitted]).square_().mean()))
    return errors


class _widening:  # noqa: N801 - a function with state
    """Bring (n, features) to at most WIDEST well-spread columns, in float64."""

    def __init__(self, n_features: int, *, seed: int) -> None:
        self._pairs = (
            torch.triu_indices(n_features, n_features) if n_features <= NARROWEST else None
        )
        self._buckets = self._signs = None
        if n_features > WIDEST:
            generator = torch.Generator().manual_seed(seed)
            self._buckets = torch.randint(WIDEST, (n_features,), generator=generator)
            self._signs = torch.randint(2, (n_features,), generator=generator).float() * 2 - 1

    def __call__(self, x: Tensor) -> Tensor:
        if self._pairs is not None:
            products = x[:, self._pairs[0]] * x[:, self._pairs[1]]
            return torch.cat([x, products], dim=1).double()
        if self._buckets is not None and self._signs is not None:
            sums = x.new_zeros(len(x), WIDEST)
            return sums.index_add_(1, self._buckets, x * self._signs).double()
        return x.double()
