"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), read without running their pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from raysweep.data.examples import Examples
from raysweep.data.published import Files
from raysweep.errors import DataError

CIFAR10 = Files(
    "cifar10",
    "CIFAR10",
    ("cifar10", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"),
    (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
)

CIFAR100 = Files(
    "cifar100",
    "CIFAR100",
    ("cifar100", "cifar-100-python", "cifar100/cifar-100-python"),
    ("train", "test"),
)


class _ArraysOnly(pickle.Unpickler):
    """Reads the pickles that CIFAR is published in, and nothing that could run code."""

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


def _cifar_examples(files: Files, label_key: bytes) -> Examples:
    """Return (60000, 3, 32, 32) bytes from the python version of CIFAR (Krizhevsky 2009)."""
    folder = files.folder()
    features, labels = [], []
    for name in files.needed:
        try:
            with (folder / name).open("rb") as file:
                batch = _ArraysOnly(file, encoding="bytes").load()
            features.append(np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32))
            labels.append(np.asarray(batch[label_key], np.int64))
        except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError) as error:
            remedy = "delete it and fetch it again"
            raise DataError(f"{folder / name} is no CIFAR batch ({error}); {remedy}") from None
    n_test = len(labels[-1])  # the last file of either is its test set
    x, y = np.concatenate(features), np.concatenate(labels)
    published = np.arange(len(y)) < len(y) - n_test
    return Examples(features=x, labels=y, top=255, published=published)


@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """60,000 photographs, 3x32x32, 10 classes (Krizhevsky 2009)."""

    def find(self) -> Path | None:
        """Return the folder of the batches, or None."""
        return CIFAR10.find()

    def read(self) -> Examples:
        """Return (60000, 3, 32, 32) bytes."""
        return _cifar_examples(CIFAR10, b"labels")


@dataclass(frozen=True, kw_only=True)
class Cifar100:
    """60,000 photographs, 3x32x32, 100 classes (Krizhevsky 2009)."""

    def find(self) -> Path | None:
        """Return the folder of the batches, or None."""
        return CIFAR100.find()

    def read(self) -> Examples:
        """Return (60000, 3, 32, 32) bytes."""
        return _cifar_examples(CIFAR100, b"fine_labels")
