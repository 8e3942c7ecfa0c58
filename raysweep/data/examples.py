"""What a source gives: every example of a data set, unscaled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Every example of a data set, unscaled.

    ``features`` (n, *shape); ``labels`` (n,); ``groups`` (n,) or None; ``top`` is the value that
    stands for 1.0 when the range is known (255 for bytes), None when it is to be taken from data;
    ``published`` (n,) is true for its published training set, None when it has none.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    top: float | None = None
    published: NDArray[np.bool_] | None = None


class Source(Protocol):
    """A data set that can be read whole."""

    def find(self) -> Path | None:
        """Return where it lies on this machine, or None."""

    def read(self) -> Examples:
        """Return all its examples; raise :class:`DataError` that says what to do otherwise."""


def as_examples(
    features: Any,
    labels: Any,
    groups: Any = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> Examples:
    """Return a user's arrays as examples: images get a channel axis, a stated range is [0, 1]."""
    try:
        x = np.asarray(features)
    except ValueError:
        raise DataError("examples differ in size; resize them to one shape") from None
    y = np.asarray(labels)
    if x.dtype.kind not in "buif" or x.ndim < 2:
        law = "features must be numbers, one row an example"
        raise DataError(f"{law}, got {x.dtype} of shape {x.shape}")
    if groups is not None and np.shape(groups) != np.shape(y):
        raise DataError(f"groups must pair with labels, got {np.shape(groups)} and {np.shape(y)}")
    if value_range is not None:
        low, high = value_range
        x = ((x.astype(np.float32) - low) / (high - low)).clip(0, 1)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    is_bytes = x.dtype == np.uint8 and x.ndim == 4
    top = 255.0 if is_bytes else 1.0 if value_range is not None else None
    return Examples(features=x, labels=y, groups=groups, top=top)
