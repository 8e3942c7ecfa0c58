"""Ridge regression from activations to pixels, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysweep.attacks.inversion.decoder import Decoder

MAX_FEATURES = 2048  # more features are projected onto so many random directions

MAX_FOR_PRODUCTS = 62  # most features to which pairwise products are added: 2,015 in all

JITTER = 1e-9  # added to every eigenvalue, because constant activations have only zeros

STRENGTHS = tuple(10.0**k for k in range(-7, 5))  # as multiples of the mean eigenvalue


def fit_ridge(
    activations: Tensor, images: NDArray[np.float32], held_out: NDArray[np.bool_], *, seed: int
) -> Decoder:
    """Return ridge regression, its strength chosen on ``held_out`` rows, refitted on all rows.

    ``activations`` (n, features), ``images`` (n, pixels) in [0, 1]. If there are few
    features, their pairwise products are added. If there are many, they are projected onto random
    directions drawn by ``seed``, to save memory. The mean image is not shrunk, so it is the
    prediction from activations without information.
    """
    features_of = FeatureMap(activations.shape[1], products=True, seed=seed)
    x, y = features_of(activations), torch.from_numpy(images).double()
    mean, spread = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
    solution = solve((x - mean).div_(spread), y, torch.from_numpy(~held_out))

    def decode(rows: Tensor) -> NDArray[np.float32]:
        z = (features_of(rows) - mean) / spread
        return (z @ solution.weights + solution.mean_image).clamp(0, 1).float().numpy()

    return Decoder(decode=decode, held_out_mse=solution.held_out_mse)


class Solution(NamedTuple):
    """The linear map x @ weights + mean_image, and its error on held-out rows."""

    weights: Tensor
    mean_image: Tensor
    held_out_mse: float


def solve(x: Tensor, y: Tensor, fitted: Tensor) -> Solution:
    """Return the ridge regression of ``y`` (n, pixels) on centred columns ``x`` (n, columns).

    The strength is the best on the rows that are not ``fitted``; the weights are those of all rows.
    """
    mean_image = y.mean(dim=0)

    # Use the smaller Gram matrix: that of the rows if there are fewer rows than columns.
    of_rows = len(x) < x.shape[1]
    gram = x @ x.T if of_rows else x.T @ x
    errors = _held_out_errors(x, y, gram, fitted, of_rows=of_rows)
    best = int(np.argmin(errors))

    gram.diagonal().add_(STRENGTHS[best] * float(gram.trace()) / x.shape[1] + JITTER)
    factor, centred = torch.linalg.cholesky(gram), y - mean_image
    right = centred if of_rows else x.T @ centred
    weights = torch.cholesky_solve(right, factor)
    weights = x.T @ weights if of_rows else weights
    return Solution(weights, mean_image, errors[best])


def _held_out_errors(
    x: Tensor, y: Tensor, gram: Tensor, fitted: Tensor, *, of_rows: bool
) -> list[float]:
    """Return the error on the rows that are not ``fitted``, for each of STRENGTHS.

    ``gram`` is the Gram matrix of all data: x @ x.T if it is ``of_rows``, else x.T @ x.
    """
    held_out, mean = x[~fitted], y[fitted].mean(dim=0)
    if of_rows:
        gram, rows = gram[fitted][:, fitted], gram[~fitted][:, fitted]
        right = y[fitted] - mean
    else:
        gram, rows = gram - held_out.T @ held_out, held_out
        right = x[fitted].T @ (y[fitted] - mean)

    penalties = [strength * float(gram.trace()) / x.shape[1] + JITTER for strength in STRENGTHS]
    return _errors_of_penalties(gram, right, rows, penalties, mean=mean, truth=y[~fitted])


def _errors_of_penalties(
    gram: Tensor,
    right: Tensor,
    rows: Tensor,
    penalties: Sequence[float],
    *,
    mean: Tensor,
    truth: Tensor,
) -> list[float]:
    """Return the error on some rows of rows @ (gram + penalty)^-1 @ right + mean, for each penalty.

    ``truth`` (rows, pixels) is in [0, 1]. One eigendecomposition of ``gram`` serves all penalties.
    """
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp_min(0)
    rotated_right, rotated_rows = vectors.T @ right, rows @ vectors

    errors = []
    for penalty in penalties:
        shrunk = rotated_right / (values + penalty)[:, None]
        guess = (rotated_rows @ shrunk).add_(mean).clamp_(0, 1)
        errors.append(float(guess.sub_(truth).square_().mean()))
    return errors


class FeatureMap:
    """A map from activations (n, n_features) to at most MAX_FEATURES columns, in float64.

    With ``products`` the pairwise products of few features are added.
    """

    def __init__(self, n_features: int, *, products: bool, seed: int) -> None:
        self._pairs: Tensor | None = None
        self._buckets: Tensor | None = None
        self._signs: Tensor | None = None
        if products and n_features <= MAX_FOR_PRODUCTS:
            self._pairs = torch.triu_indices(n_features, n_features)
        if n_features > MAX_FEATURES:
            generator = torch.Generator().manual_seed(seed)
            self._buckets = torch.randint(MAX_FEATURES, (n_features,), generator=generator)
            self._signs = torch.randint(2, (n_features,), generator=generator).float() * 2 - 1

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of activations ``x``."""
        if self._pairs is not None:
            products = x[:, self._pairs[0]] * x[:, self._pairs[1]]
            return torch.cat([x, products], dim=1).double()
        if self._buckets is not None and self._signs is not None:
            sums = x.new_zeros(len(x), MAX_FEATURES)
            return sums.index_add_(1, self._buckets, x * self._signs).double()
        return x.double()
