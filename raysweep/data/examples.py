"""The data that a source reads, before they are scaled and dealt into splits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep.config.plain_text import counted
from raysweep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class RawData:
    """All examples of a data set, not yet scaled.

    - ``features`` (n, *shape) and ``labels`` (n,).
    - ``groups`` (n,): examples of one group stay in one split. None without groups.
    - ``subgroups`` (n,): what figures are told apart by, such as an age band. None without any.
    - ``top``: the value that stands for 1.0, such as 255 for bytes. None if the range is unknown.
    - ``value_range``: the values that are scaled to 0 and 1, if they are stated: for all features,
      or for each feature of a table, NaN for those without one.
    - ``published`` (n,): whether an example is in the published training set. None if the data
      set has no published training set.
    - ``names``: the names of flat features, for messages.
    - ``classes``: the names of the classes, by their numbers, if they have names.
    - ``notes``: sentences about what was left out or changed while the data were read.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    subgroups: NDArray[Any] | None = None
    top: float | None = None
    value_range: tuple[Any, ...] | None = None
    published: NDArray[np.bool_] | None = None
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def feature_name(self, number: int) -> str:
        """Return what messages call the feature at ``number`` of a flat example."""
        name = f" ({self.names[number]})" if number < len(self.names) else ""
        return f"feature {number}{name}"


DARK = 32
"""Images whose largest byte is smaller do not use 255 as white."""


def whole_path(path: str) -> Path:
    """Return an absolute path, with the user's home in place of ``~``."""
    return Path(os.path.expanduser(path)).absolute()


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
    subgroups: Any = None,
    *,
    value_range: tuple[float, float] | None = None,
    notes: tuple[str, ...] = (),
) -> RawData:
    """Return a user's arrays as raw data.

    Images become (n, channels, height, width). If ``value_range`` is given, it is mapped to
    [0, 1], and values outside it are clipped.
    """
    if len({getattr(kind, "kind", "") for kind in getattr(features, "dtypes", ())}) > 1:
        refuse_rounded(features)  # one array of all columns is one of doubles
    x = to_array(features, "features")
    if x.dtype.kind not in "buif" or x.ndim < 2:
        raise DataError(
            f"features must be numbers, one row for each example, got {x.dtype} of shape {x.shape}"
            f"{_columns_of_text(features)}",
            remedy="of one feature make a column by features.reshape(-1, 1)"
            if x.dtype.kind in "buif"
            else "turn what is no number into numbers, such as a column for each value",
        )
    if 0 in x.shape[1:]:
        raise DataError(f"features must have a value for each example, got shape {x.shape}")

    if x.ndim == 3:
        x = x[:, None]
    if x.ndim == 4 and _has_channels_last(x.shape[1:]):
        x = x.transpose(0, 3, 1, 2)

    is_bytes = x.dtype == np.uint8 and x.ndim == 4 and value_range is None
    if value_range is not None:
        notes += clipped(x, value_range)
    return RawData(
        features=x,
        labels=labels,
        groups=groups,
        subgroups=subgroups,
        top=top_of_bytes(x) if is_bytes else None,
        value_range=value_range,
        names=tuple(map(str, getattr(features, "columns", ()))),
        notes=notes,
    )


def refuse_rounded(table: Any) -> None:
    """Raise :class:`DataError` if whole numbers of a table's column become equal as doubles."""
    columns, types = getattr(table, "columns", ()), getattr(table, "dtypes", ())
    for name, kind in zip(columns, types, strict=True):
        if getattr(kind, "kind", "") not in "iu":
            continue
        whole = np.asarray(table[name])
        n_whole, n_doubles = (len(np.unique(v)) for v in (whole, whole.astype(np.float64)))
        if n_doubles < n_whole:
            raise DataError(
                f"column {name!r} has {n_whole:,} whole numbers, and {n_doubles:,} in double "
                "precision",
                remedy="subtract an offset, or leave the column out",
            )


def to_array(given: Any, what: str) -> NDArray[Any]:
    """Return what a user gave as ``what`` as an array.

    Raises:
        DataError: it is no array, or values of it are masked.

    """
    if np.ma.is_masked(given):
        raise DataError(
            f"{what} have {counted(int(np.ma.getmaskarray(given).sum()), 'masked value')}",
            remedy="fill these values (.filled), or leave the rows out",
        )
    try:
        return np.asarray(given)
    except ValueError:
        raise DataError(f"{what} differ in size", remedy="give each row the same shape") from None
    except Exception as error:  # whatever a type of a library's own raises
        raise DataError(f"{what} cannot be read as an array ({error})") from None


def top_of_bytes(images: NDArray[np.uint8]) -> float:
    """Return the byte that stands for 1.0: 255, or 1 in images of bits.

    Raises:
        DataError: the largest byte is between the two, as in images of 16 shades.

    """
    largest = int(images.max(initial=0))
    if largest > 1:
        n_bits = int((images.reshape(len(images), -1).max(axis=1) == 1).sum())
        if 2 * n_bits > len(images):
            raise DataError(
                f"{n_bits:,} of {len(images):,} images hold the bytes 0 and 1 alone, and the "
                f"largest byte of all is {largest}: they would be divided by 255",
                remedy="write all images alike, or state `range` (of an .npz)",
            )
    if 1 < largest < DARK:
        raise DataError(
            f"images of bytes are divided by 255, and the largest byte here is {largest}",
            remedy=f"scale them to 255, or state `range: [0, {largest}]` (of an .npz)",
        )
    return 1.0 if largest <= 1 else 255.0


def _columns_of_text(features: Any) -> str:
    """Return the names of the columns of a table that hold no numbers, as part of a message."""
    columns, types = getattr(features, "columns", ()), getattr(features, "dtypes", ())
    kinds = {
        str(name): getattr(kind, "kind", "") for name, kind in zip(columns, types, strict=True)
    }
    names = [name for name, kind in kinds.items() if kind not in "buif"]
    return f"; no numbers are in {', '.join(names)}" if names else ""


def _has_channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether images of a shape (a, b, c) are (height, width, channels).

    One or three channels are recognised at once. Of other images the two equal sides are height
    and width, or the shortest side is the channels. In doubt channels come first.
    """
    first, middle, last = shape
    if first in (1, 3) or middle == last:
        return False
    return last in (1, 3) or first == middle or last < first


def clipped(x: NDArray[Any], value_range: tuple[float, float]) -> tuple[str, ...]:
    """Return a note on the values outside the range, if there are any."""
    low, high = value_range
    n_outside = int(((x < low) | (x > high)).sum())
    if n_outside == 0:
        return ()
    which = counted(n_outside, "value lies", "values lie")
    return (f"{which} outside [{low:g}, {high:g}] and will be clipped, of {x.size:,}",)
