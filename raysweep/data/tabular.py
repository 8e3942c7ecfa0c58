"""Binary records: Purchase100, Texas100 (Shokri et al. 2017), and records like purchases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from raysweep.data.examples import Examples
from raysweep.data.published import Files
from raysweep.data.user import read_npz
from raysweep.errors import DataError

_ORIGIN = "the public .npz with `features` and `labels`; see Shokri et al. 2017"

PURCHASE100 = Files("purchase100", None, ("purchase100", ""), ("purchase100.npz",), _ORIGIN)

TEXAS100 = Files("texas100", None, ("texas100", ""), ("texas100.npz",), _ORIGIN)


def _records(files: Files, n_features: int) -> Examples:
    """Return (n, n_features) bytes of 0 and 1; labels may be numbers from 0 or 1, or one-hot."""
    path = files.folder() / files.needed[0]
    features, labels = read_npz(path)
    if features.ndim != 2 or features.shape[1] != n_features or not _is_binary(features):
        law = f"holds {n_features} features of 0 and 1"
        raise DataError(f"{path}: {files.name} {law}, got {features.dtype} of {features.shape}")
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1).astype(np.int64)
    return Examples(features=features.astype(np.uint8), labels=labels - labels.min(), top=1.0)


def _is_binary(features: NDArray[Any]) -> bool:
    return bool(((features == 0) | (features == 1)).all())


@dataclass(frozen=True, kw_only=True)
class Purchase100:
    """197,324 shopping records of 600 binary features, 100 classes (Shokri et al. 2017)."""

    def find(self) -> Path | None:
        """Return the folder of purchase100.npz, or None."""
        return PURCHASE100.find()

    def read(self) -> Examples:
        """Return (197324, 600) bytes of 0 and 1."""
        return _records(PURCHASE100, 600)


@dataclass(frozen=True, kw_only=True)
class Texas100:
    """67,330 hospital stays of 6,169 binary features, 100 classes (Shokri et al. 2017)."""

    def find(self) -> Path | None:
        """Return the folder of texas100.npz, or None."""
        return TEXAS100.find()

    def read(self) -> Examples:
        """Return (67330, 6169) bytes of 0 and 1."""
        return _records(TEXAS100, 6169)


@dataclass(frozen=True, kw_only=True)
class SyntheticPurchase:
    """SYNTHETIC records in the form of Purchase100, for where the real file cannot be had.

    Each class has a taste, a probability for each of ``features`` goods: the logistic function of
    a normal draw with mean -1 and deviation ``spread``. A record buys each good independently. A
    smaller ``spread`` makes classes more alike. The same parameters give the same records.
    """

    records: Annotated[int, Gt(0)] = 100_000
    features: Annotated[int, Gt(0)] = 600
    classes: Annotated[int, Ge(2)] = 100
    spread: Annotated[float, Gt(0)] = 0.5

    def find(self) -> Path | None:
        """Return the folder of the generator: there is no file."""
        return Path(__file__).parent

    def read(self) -> Examples:
        """Return (records, features) bytes of 0 and 1, classes of equal size."""
        rng = np.random.default_rng(100)
        tastes = 1 / (1 + np.exp(1 - self.spread * rng.normal(size=(self.classes, self.features))))
        labels = np.arange(self.records) % self.classes
        features = np.empty((self.records, self.features), np.uint8)
        for part in np.array_split(np.arange(self.records), max(1, self.records // 10_000)):
            chances = tastes[labels[part]].astype(np.float32)
            features[part] = rng.random(chances.shape, np.float32) < chances
        return Examples(features=features, labels=labels, top=1.0)
