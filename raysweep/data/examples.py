"""The data that a source reads, before they are scaled and dealt into splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class RawData:
    """All examples of a data set, not yet scaled.

    - ``features`` (n, *shape) and ``labels`` (n,).
    - ``groups`` (n,): examples of one group stay in one split. None without groups.
    - ``top``: the value that stands for 1.0, such as 255 for bytes. None if the range is unknown.
    - ``published`` (n,): whether an example is in the published training set. None if the data
      set has no published training set.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    top: float | None = None
    published: NDArray[np.bool_] | None = None


class Source(Protocol):
    """A data set that can be read whole."""

    def find(self) -> Path | None:
        """Return the file or folder of the data set on this machine, or None."""

    def read(self) -> RawData:
        """Return all examples; raise :class:`DataError` with a remedy if this is impossible."""


def to_raw_data(
    features: Any,
    labels: Any,
    groups: Any = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> RawData:
    """Return a user's arrays as raw data.

    Images become (n, channels, height, width). If ``value_range`` is given, it is mapped to
    [0, 1], and values outside it are clipped.
    """
    try:
        x = np.asarray(features)
    except ValueError:
        raise DataError("examples differ in size", remedy="resize them to one shape") from None

    y = np.asarray(labels)
    if x.dtype.kind not in "buif" or x.ndim < 2:
        raise DataError(
            f"features must be numbers, one row for each example, got {x.dtype} of shape {x.shape}"
        )
    if groups is not None and np.shape(groups) != np.shape(y):
        raise DataError(f"groups must pair with labels, got {np.shape(groups)} and {np.shape(y)}")

    if value_range is not None:
        low, high = value_range
        x = ((x.astype(np.float32) - low) / (high - low)).clip(0, 1)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)  # channels came last

    top = None if value_range is None else 1.0
    if x.dtype == np.uint8 and x.ndim == 4:
        top = 255.0
    return RawData(features=x, labels=y, groups=groups, top=top)
