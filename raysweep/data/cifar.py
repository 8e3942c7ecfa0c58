"""Read CIFAR-10 and CIFAR-100 (Krizhevsky 2009) without running code from their pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from raysweep.data.examples import RawData
from raysweep.data.published import PublishedFiles
from raysweep.errors import DataError

CIFAR10 = PublishedFiles(
    name="cifar10",
    torchvision_name="CIFAR10",
    folders=("cifar10", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"),
    needed=(*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
)

CIFAR100 = PublishedFiles(
    name="cifar100",
    torchvision_name="CIFAR100",
    folders=("cifar100", "cifar-100-python", "cifar100/cifar-100-python"),
    needed=("train", "test"),
)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of NumPy arrays and refuses everything that could run code."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array") from None


def _read_cifar(files: PublishedFiles, label_key: bytes) -> RawData:
    """Return (60000, 3, 32, 32) bytes from the python version of CIFAR (Krizhevsky 2009)."""
    folder = files.folder()
    batches = [_read_batch(folder / name, label_key) for name in files.needed]
    features = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([numbers for _, numbers in batches])

    n_test = len(batches[-1][1])  # the test set is the last file, in CIFAR-10 and in CIFAR-100
    is_training = np.arange(len(labels)) < len(labels) - n_test
    return RawData(features=features, labels=labels, top=255, published=is_training)


def _read_batch(path: Path, label_key: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images (n, 3, 32, 32) and the labels (n,) of one file."""
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return images, np.asarray(batch[label_key], np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is not a CIFAR batch ({error})", remedy="delete it and fetch it again"
        ) from None


@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """60,000 photographs, 3x32x32, 10 classes (Krizhevsky 2009)."""

    def find(self) -> Path | None:
        """Return the folder of the batches, or None."""
        return CIFAR10.find()

    def read(self) -> RawData:
        """Return (60000, 3, 32, 32) bytes."""
        return _read_cifar(CIFAR10, b"labels")


@dataclass(frozen=True, kw_only=True)
class Cifar100:
    """60,000 photographs, 3x32x32, 100 classes (Krizhevsky 2009)."""

    def find(self) -> Path | None:
        """Return the folder of the batches, or None."""
        return CIFAR100.find()

    def read(self) -> RawData:
        """Return (60000, 3, 32, 32) bytes."""
        return _read_cifar(CIFAR100, b"fine_labels")
