"""Ridge regression from activations to pixels, in closed form: no training can fall short."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysweep.decoders import Decoder

WIDEST = 2048  # features beyond this are projected onto as many random directions
NARROWEST = 62  # up to here, products of features are added: 62 give 2,015
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
    x, mean_image = (x - mean) / spread, y.mean(dim=0)
    fitted = torch.from_numpy(~held_out)
    values, vectors = torch.linalg.eigh(x[fitted].T @ x[fitted])
    values = values.clamp_min(0)
    fitted_mean = y[fitted].mean(dim=0)
    rotated, rotated_out = (
        vectors.T @ (x[fitted].T @ (y[fitted] - fitted_mean)),
        x[~fitted] @ vectors,
    )
    errors = []
    for strength in STRENGTHS:
        shrunk = rotated / (values + strength * values.mean())[:, None]
        guess = (rotated_out @ shrunk + fitted_mean).clamp(0, 1)
        errors.append(float((guess - y[~fitted]).square().mean()))
    best = int(np.argmin(errors))
    gram = x.T @ x
    gram.diagonal().add_(STRENGTHS[best] * float(gram.diagonal().mean()))
    weights = torch.linalg.solve(gram, x.T @ (y - mean_image))

    def decode(others: Tensor) -> NDArray[np.float32]:
        z = (widen(others) - mean) / spread
        return (z @ weights + mean_image).clamp(0, 1).float().numpy()  # type: ignore[no-any-return]

    return Decoder(decode=decode, held_out_mse=errors[best])


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
