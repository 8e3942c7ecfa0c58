"""Published data sets: where their files lie, and how they are read.

Looked for in ``--data-root`` / ``RAYSWEEP_DATA``, the cache, the system's share/datasets, and then
downloaded through torchvision.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
import zlib
from dataclasses import dataclass as plain_dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from raysweep.data.examples import Examples
from raysweep.errors import DataError


def cache_folder() -> Path:
    """Return the user's cache for raysweep."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raysweep"


def data_folders() -> list[Path]:
    """Return where data sets are looked for, in order."""
    asked = [Path(p) for p in os.environ.get("RAYSWEEP_DATA", "").split(os.pathsep) if p]
    system = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    shares = [Path(p) / "datasets" for p in system.split(os.pathsep) if p]
    return [*asked, cache_folder(), *dict.fromkeys([*shares, Path("/usr/share/datasets")])]


@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 handwritten digits, 1x8x8, 10 classes; ships with scikit-learn, nothing to download."""

    def find(self) -> Path | None:
        """Return the folder of the package that carries them."""
        import importlib.util

        spec = importlib.util.find_spec("sklearn")
        return Path(spec.origin) if spec and spec.origin else None

    def read(self) -> Examples:
        """Return (1797, 1, 8, 8) values of 0 to 16."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = digits.images.astype(np.uint8)[:, None]
        return Examples(features=images, labels=digits.target, top=16)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of an idx file, plain or .gz (LeCun's MNIST format, bytes only)."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        remedy = "delete it and fetch it again"
        raise DataError(f"{path} is not a whole idx file ({error}); {remedy}") from None


_IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)


@plain_dataclass(frozen=True)
class Files:
    """The files of a published data set: where they lie, what they are called, who has them.

    ``torchvision_name`` is None for those that torchvision does not fetch; ``origin`` then says
    where people get them.
    """

    name: str
    torchvision_name: str | None
    folders: tuple[str, ...]
    needed: tuple[str, ...]
    origin: str = ""

    def find(self) -> Path | None:
        """Return the first folder that holds every needed file, or None."""
        for folder in self.candidates():
            if all(self._present(folder / name) for name in self.needed):
                return folder
        return None

    def _present(self, path: Path) -> bool:
        compressed = path.with_name(path.name + ".gz")  # idx files alone are read compressed
        return path.is_file() or (self.needed == _IDX and compressed.is_file())

    def candidates(self) -> list[Path]:
        """Return the folders that are looked in, in order."""
        return [root / folder for root in data_folders() for folder in self.folders]

    def folder(self) -> Path:
        """Return where the files lie, fetching them through torchvision when they are nowhere."""
        found = self.find()
        if found is None and self.torchvision_name and _download(self.torchvision_name):
            found = self.find()
        if found is None:
            raise self.missing()
        return found

    def missing(self) -> DataError:
        """Return the error that says where it was looked for and the three ways to get it."""
        tried = "".join(f"\n  - {folder}" for folder in self.candidates())
        place = f"a folder named {self.name} and pass the folder above it with --data-root or "
        place += "RAYSWEEP_DATA"
        if self.torchvision_name is None:
            return DataError(
                f"data set {self.name!r} is not on this machine. Looked in:{tried}\nTo get it: put "
                f"{', '.join(self.needed)} ({self.origin}) into {place}."
            )
        return DataError(
            f"data set {self.name!r} is not on this machine and could not be downloaded. "
            f"Looked in:{tried}\nThree ways to get it: (1) put {', '.join(self.needed)} into "
            f"{place}; (2) install it for the whole system in /usr/share/datasets (Debian has "
            "Fashion-MNIST as the package dataset-fashion-mnist); (3) run once where there is a "
            f"network, and copy {cache_folder()} to this machine."
        )


def _download(torchvision_name: str) -> bool:
    """Fetch a data set into the cache through torchvision; return whether that worked."""
    from torchvision import datasets

    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision shows its progress
            getattr(datasets, torchvision_name)(root=str(cache_folder()), download=True)
    except (OSError, RuntimeError):
        return False
    return True


MNIST = Files("mnist", "MNIST", ("mnist", "MNIST/raw"), _IDX)

FASHION_MNIST = Files(
    "fashion_mnist",
    "FashionMNIST",
    ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    _IDX,
)


def _idx_examples(files: Files) -> Examples:
    folder = files.folder()
    parts = []
    for name in _IDX:
        plain = folder / name
        parts.append(_read_idx(plain if plain.is_file() else folder / f"{name}.gz"))
    features = np.concatenate([parts[0], parts[2]])[:, None]
    labels = np.concatenate([parts[1], parts[3]])
    published = np.arange(len(labels)) < len(parts[1])
    return Examples(features=features, labels=labels, top=255, published=published)


@dataclass(frozen=True, kw_only=True)
class Mnist:
    """70,000 handwritten digits, 1x28x28, 10 classes (LeCun et al. 1998)."""

    def find(self) -> Path | None:
        """Return the folder of the idx files, or None."""
        return MNIST.find()

    def read(self) -> Examples:
        """Return (70000, 1, 28, 28) bytes."""
        return _idx_examples(MNIST)


@dataclass(frozen=True, kw_only=True)
class FashionMnist:
    """70,000 pieces of clothing, 1x28x28, 10 classes (Xiao et al. 2017)."""

    def find(self) -> Path | None:
        """Return the folder of the idx files, or None."""
        return FASHION_MNIST.find()

    def read(self) -> Examples:
        """Return (70000, 1, 28, 28) bytes."""
        return _idx_examples(FASHION_MNIST)
