"""An independent eye: who is in a picture, learnt from real ones alone. NumPy only.

Linear discriminant analysis (Fisher 1936) with shrunk covariance. It never meets a target, so what
it recognises in a reconstruction was in the data, not in the target's weaknesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Labels = NDArray[np.int64]

SHRINKAGE = 0.1  # of the covariance within classes, towards a sphere


@dataclass(frozen=True, kw_only=True)
class Recogniser:
    """``weights`` (features, classes) and ``bias`` (classes,) give every class's discriminant."""

    classes: Labels
    weights: Floats
    bias: Floats

    def names(self, images: NDArray[np.floating]) -> Labels:
        """Return the class that each image (n, *shape) is seen to be of, (n,)."""
        found: Labels = self.classes[(_even(images) @ self.weights + self.bias).argmax(axis=1)]
        return found

    def accuracy(self, images: NDArray[np.floating], labels: Labels) -> float:
        """Return the share of images that are rightly named."""
        return float((self.names(images) == labels).mean())


def fit(images: NDArray[np.floating], labels: Labels) -> Recogniser:
    """Return a recogniser that has seen real ``images`` (n, *shape) and their ``labels`` (n,).

    Every image is brought to mean 0 and variance 1 first, as an eye adapts to light and contrast.
    """
    x = _even(images)
    mean = x.mean(axis=0)
    basis = _principal(x - mean)
    z = (x - mean) @ basis
    classes = np.unique(labels)
    centres = np.stack([z[labels == label].mean(axis=0) for label in classes])
    within = z - centres[np.searchsorted(classes, labels)]
    covariance = (1 - SHRINKAGE) * within.T @ within / len(z)
    covariance += SHRINKAGE * np.eye(len(covariance)) * (within**2).sum() / within.size
    directions = np.linalg.solve(covariance, centres.T)
    weights = basis @ directions
    bias = -0.5 * (centres.T * directions).sum(axis=0) - mean @ weights
    return Recogniser(classes=classes, weights=weights, bias=bias)


def _even(images: NDArray[np.floating]) -> Floats:
    x = images.reshape(len(images), -1).astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    return x / (x.std(axis=1, keepdims=True) + 1e-6)  # type: ignore[no-any-return]


def _principal(x: Floats) -> Floats:
    """Return an orthonormal basis of the rows' span, (features, rank)."""
    few_rows = len(x) < x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if few_rows else x.T @ x)
    keep = values > values[-1] * 1e-10
    basis: Floats = vectors[:, keep]
    return x.T @ basis / np.sqrt(values[keep]) if few_rows else basis
