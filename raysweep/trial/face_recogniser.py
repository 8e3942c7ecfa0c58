"""A face recogniser trained only on real images. It judges reconstructions.

It is linear discriminant analysis (Fisher 1936) with shrunk covariance, in NumPy. It is trained
without the target, so its judgement does not depend on the target's weaknesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Labels = NDArray[np.int64]

SHRINKAGE = 0.1  # weight of the identity in the covariance within classes


@dataclass(frozen=True, kw_only=True)
class Recogniser:
    """``weights`` (features, classes) and ``bias`` (classes,) give every class's discriminant."""

    classes: Labels
    weights: Floats
    bias: Floats

    def names(self, images: NDArray[np.floating]) -> Labels:
        """Return the class recognised in each image (n, *shape), (n,)."""
        discriminants = standardise(images) @ self.weights + self.bias
        names: Labels = self.classes[discriminants.argmax(axis=1)]
        return names

    def accuracy(self, images: NDArray[np.floating], labels: Labels) -> float:
        """Return the share of images that are named correctly."""
        return float((self.names(images) == labels).mean())


def fit(images: NDArray[np.floating], labels: Labels) -> Recogniser:
    """Return a recogniser trained on real ``images`` (n, *shape) and their ``labels`` (n,).

    Each image is standardised to mean 0 and variance 1 first.
    """
    x = standardise(images)
    mean = x.mean(axis=0)
    basis = _principal_basis(x - mean)
    z = (x - mean) @ basis

    classes = np.unique(labels)
    centres = np.stack([z[labels == label].mean(axis=0) for label in classes])
    residuals = z - centres[np.searchsorted(classes, labels)]
    covariance = (1 - SHRINKAGE) * residuals.T @ residuals / len(z)
    covariance += SHRINKAGE * np.eye(len(covariance)) * (residuals**2).sum() / residuals.size

    directions = np.linalg.solve(covariance, centres.T)
    weights = basis @ directions
    bias = -0.5 * (centres.T * directions).sum(axis=0) - mean @ weights
    return Recogniser(classes=classes, weights=weights, bias=bias)


def standardise(images: NDArray[np.floating]) -> Floats:
    """Return images (n, *shape) as rows of mean 0 and variance 1, (n, features)."""
    x = images.reshape(len(images), -1).astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    return x / (x.std(axis=1, keepdims=True) + 1e-6)  # type: ignore[no-any-return]


def _principal_basis(x: Floats) -> Floats:
    """Return an orthonormal basis of the rows' span, (features, rank)."""
    few_rows = len(x) < x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if few_rows else x.T @ x)
    keep = values > values[-1] * 1e-10
    basis: Floats = vectors[:, keep]
    return x.T @ basis / np.sqrt(values[keep]) if few_rows else basis
