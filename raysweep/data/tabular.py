"""Binary records: Purchase100 and Texas100 (Shokri et al. 2017), and synthetic purchases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.data.examples import RawData
from raysweep.data.published import PublishedFiles
from raysweep.data.user import read_npz
from raysweep.errors import DataError

_ORIGIN = "the public .npz with `features` and `labels`; see Shokri et al. 2017"

PURCHASE100 = PublishedFiles(
    name="purchase100",
    torchvision_name=None,
    folders=("purchase100", ""),
    needed=("purchase100.npz",),
    origin=_ORIGIN,
)

TEXAS100 = PublishedFiles(
    name="texas100",
    torchvision_name=None,
    folders=("texas100", ""),
    needed=("texas100.npz",),
    origin=_ORIGIN,
)


def _read_records(files: PublishedFiles, n_features: int) -> RawData:
    """Return (n, n_features) bytes of 0 and 1.

    In the file, labels may be numbers from 0, numbers from 1, or one-hot rows.
    """
    path = files.folder() / files.needed[0]
    arrays, _ = read_npz(path)
    features, labels = arrays["features"], arrays["labels"]
    if features.ndim != 2 or features.shape[1] != n_features or not _is_binary(features):
        raise DataError(
            f"{path}: {files.name} holds {n_features:,} features of 0 and 1, "
            f"got {features.dtype} of {features.shape}"
        )

    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1).astype(np.int64)
    return RawData(features=features.astype(np.uint8), labels=labels - labels.min(), top=1.0)


def _is_binary(features: NDArray[Any]) -> bool:
    return bool(((features == 0) | (features == 1)).all())


@dataclass(frozen=True, kw_only=True)
class Purchase100:
    """197,324 shopping records of 600 binary features, 100 classes (Shokri et al. 2017)."""

    def find(self) -> Path | None:
        """Return the folder of purchase100.npz, or None."""
        return PURCHASE100.find()

    def read(self) -> RawData:
        """Return (197324, 600) bytes of 0 and 1."""
        return _read_records(PURCHASE100, 600)


@dataclass(frozen=True, kw_only=True)
class Texas100:
    """67,330 hospital stays of 6,169 binary features, 100 classes (Shokri et al. 2017)."""

    def find(self) -> Path | None:
        """Return the folder of texas100.npz, or None."""
        return TEXAS100.find()

    def read(self) -> RawData:
        """Return (67330, 6169) bytes of 0 and 1."""
        return _read_records(TEXAS100, 6169)


@dataclass(frozen=True, kw_only=True)
class SyntheticPurchase:
    """SYNTHETIC records in the form of Purchase100, for machines without the real file.

    Each class has a probability of buying each of ``features`` goods: the logistic function of a
    normal variable with mean -1 and deviation ``spread``. A record buys each good independently.
    With a smaller ``spread`` the classes are more alike. The same parameters give the same records.
    """

    records: Annotated[int, Gt(0), Field(description="records to draw")] = 100_000
    features: Annotated[
        int, Gt(0), Field(description="goods that a record buys or does not buy")
    ] = 600
    classes: Annotated[int, Ge(2), Field(description="classes of equal size")] = 100
    spread: Annotated[
        float, Gt(0), Field(description="how different the classes are from each other")
    ] = 0.5

    def find(self) -> Path | None:
        """Return the folder of this module, because the records are generated."""
        return Path(__file__).parent

    def read(self) -> RawData:
        """Return (records, features) bytes of 0 and 1, classes of equal size."""
        rng = np.random.default_rng(100)
        draws = rng.normal(size=(self.classes, self.features))
        probabilities = 1 / (1 + np.exp(1 - self.spread * draws))

        labels = np.arange(self.records) % self.classes
        features = np.empty((self.records, self.features), np.uint8)
        for part in np.array_split(np.arange(self.records), max(1, self.records // 10_000)):
            of_records = probabilities[labels[part]].astype(np.float32)
            features[part] = rng.random(of_records.shape, np.float32) < of_records
        return RawData(features=features, labels=labels, top=1.0)
