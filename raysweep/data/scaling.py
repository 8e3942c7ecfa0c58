"""Scale features to [0, 1], without losing what tells examples apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config.plain_text import counted
from raysweep.data.examples import RawData
from raysweep.errors import DataError

SAMPLE = 1_000  # rows in which values are counted before and after scaling

PART = 2**24  # numbers that are scaled at once, in double precision


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What maps raw features to the model's inputs in [0, 1].

    ``low`` and ``high`` become 0 and 1, and what lies outside is clipped: one value for all
    features, or one for each, (*shape). ``names`` are those of a table's columns.
    """

    low: Any
    high: Any
    names: tuple[str, ...] = ()

    def apply(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return raw features (n, *shape) in [0, 1], computed in double precision."""
        kind = np.longdouble if self._is_large(x) else np.float64
        low: NDArray[Any] = np.asarray(self.low, dtype=kind)
        high: NDArray[Any] = np.asarray(self.high, dtype=kind)

        scaled = np.empty(x.shape, np.float32)
        step = max(1, PART // max(1, x[:1].size))
        with np.errstate(over="ignore"):  # infinity is clipped
            span = np.where(high > low, high - low, 1e-12)
            for start in range(0, len(x), step):
                part = x[start : start + step].astype(kind)
                scaled[start : start + step] = ((part - low) / span).clip(0, 1)
        return scaled

    def _is_large(self, x: NDArray[Any]) -> bool:
        """Return whether doubles are too coarse: nanoseconds since 1970 take 61 bits."""
        if x.dtype.kind not in "iu" or not x.size:
            return False
        ends = (x.min(), x.max(), np.min(self.low), np.max(self.high))
        return max(abs(int(end)) for end in ends) > 2**53


def scale(
    examples: RawData, pool: NDArray[np.int64], where: str
) -> tuple[NDArray[Any], float, Scaling]:
    """Return the features, the value that stands for 1.0 in them, and what scaled them.

    Features of unknown range are scaled to [0, 1] by their range in the pool. ``where`` begins the
    message of an error.

    Raises:
        DataError: a feature is not finite, loses its values when it is scaled, or has an unknown
            range and an empty pool.

    """
    x = examples.features
    _refuse_not_finite(examples, where)
    if examples.top is not None:
        scaling = Scaling(low=0, high=examples.top, names=examples.names)
        return (x if x.dtype == np.uint8 else x.astype(np.float32)), examples.top, scaling

    rows = np.arange(len(x))
    if examples.value_range is not None and np.isfinite(examples.value_range).all():
        low, high = (np.float64(end) for end in examples.value_range)
    elif examples.value_range is None and x.min() >= 0 and x.max() <= 1:
        low, high = np.float64(0), np.float64(1)
    elif len(pool) == 0:
        raise DataError(f"{where}: state `range: [low, high]`, or give it a pool to scale by")
    else:
        rows, low, high = pool, x[pool].min(axis=0), x[pool].max(axis=0)
        if examples.value_range is not None:
            ends = zip(examples.value_range, (low, high), strict=True)
            low, high = (np.where(np.isnan(stated), found, stated) for stated, found in ends)

    scaling = Scaling(low=low, high=high, names=examples.names)
    scaled = scaling.apply(x)
    rows = rows[:: -(-len(rows) // SAMPLE)]
    _refuse_lost_values(examples, x[rows], scaled[rows], where)
    return scaled, 1.0, scaling


def _refuse_not_finite(examples: RawData, where: str) -> None:
    x = examples.features
    if x.dtype.kind != "f":
        return
    bad = ~np.isfinite(x).reshape(len(x), -1)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        which = counted(
            int(bad.sum()),
            "value that is not a finite number",
            "values that are not finite numbers",
        )
        raise DataError(
            f"{where} holds {which}, the first in row {row}, {examples.feature_name(int(column))}",
            remedy="fill these values, or leave the rows or the feature out",
        )


def _refuse_lost_values(
    examples: RawData, before: NDArray[Any], after: NDArray[np.float32], where: str
) -> None:
    """Raise :class:`DataError` if half of a feature's distinct values are one after scaling."""
    n_before, n_after = _count_distinct(before), _count_distinct(after)
    lost = np.flatnonzero(2 * n_after <= n_before)
    if len(lost):
        feature = lost[np.argmin(n_after[lost] / n_before[lost])]
        raise DataError(
            f"{where}: {examples.feature_name(int(feature))} has {n_before[feature]:,} values in "
            f"{len(before):,} rows and {n_after[feature]:,} after scaling to [0, 1]",
            remedy="subtract an offset, or state a `range` that the values fill",
        )


def _count_distinct(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of distinct values of each feature, (features,)."""
    ordered = np.sort(values.reshape(len(values), -1), axis=0)
    n_distinct: NDArray[np.int64] = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0)
    return n_distinct
