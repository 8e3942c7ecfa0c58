"""Find, download and read published data sets.

Files are looked for in ``RAYSWEEP_DATA``, in the user's cache and in the system's share/datasets.
torchvision downloads data sets that are in none of these.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
import tempfile
import zlib
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from raysweep.data.examples import RawData
from raysweep.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def cache_folder() -> Path:
    """Return the user's cache for raysweep: below the temporary folder where there is no home."""
    home = Path(os.path.expanduser("~"))
    if not home.is_absolute():
        home = Path(tempfile.gettempdir(), f"raysweep-{os.getuid()}")
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "raysweep"


def data_folders() -> list[Path]:
    """Return the folders in which data sets are looked for, in order."""
    given = [Path(p) for p in os.environ.get("RAYSWEEP_DATA", "").split(os.pathsep) if p]
    system = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    shares = [Path(p) / "datasets" for p in system.split(os.pathsep) if p]
    return [*given, cache_folder(), *dict.fromkeys([*shares, Path("/usr/share/datasets")])]


@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 handwritten digits, 1x8x8, 10 classes; part of scikit-learn, nothing to download."""

    def find(self) -> Path | None:
        """Return the file of the package that contains them."""
        import importlib.util

        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            return None
        return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"

    def read(self) -> RawData:
        """Return (1797, 1, 8, 8) values of 0 to 16.

        The file is what scikit-learn's ``load_digits`` reads, without the 2 s of importing it.
        """
        path = self.find()
        assert path is not None
        with gzip.open(path, "rt") as file:  # a name would be looked up in the working folder
            rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
        labels = rows[:, -1].astype(np.int64)
        return RawData(features=rows[:, :-1].reshape(-1, 1, 8, 8), labels=labels, top=16)


def read_tumours() -> pd.DataFrame:
    """Return 569 tumours: 30 measurements and the column ``diagnosis`` (Street et al. 1993)."""
    from sklearn.datasets import load_breast_cancer

    tumours = load_breast_cancer(as_frame=True)
    names = [str(name) for name in tumours.target_names]
    diagnosis = tumours.target.map(dict(enumerate(names)))
    table: pd.DataFrame = tumours.data.assign(diagnosis=diagnosis)
    return table


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of an idx file, plain or .gz (LeCun's MNIST format, bytes only)."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(
            f"{path} is not a whole idx file ({error})", remedy="delete it and fetch it again"
        ) from None


_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@plain_dataclass(frozen=True, kw_only=True)
class PublishedFiles:
    """The files of a published data set.

    ``folders`` are the usual names of its folder, and ``needed`` are the files inside. If
    torchvision cannot download it, ``torchvision_name`` is None and ``origin`` tells the user
    where to get the files.
    """

    name: str
    torchvision_name: str | None
    folders: tuple[str, ...]
    needed: tuple[str, ...]
    origin: str = ""

    def find(self) -> Path | None:
        """Return the first folder that contains every needed file, or None."""
        for folder in self.candidates():
            if all(self._exists(folder / name) for name in self.needed):
                return folder
        return None

    def _exists(self, path: Path) -> bool:
        compressed = path.with_name(path.name + ".gz")  # only idx files can be read compressed
        return path.is_file() or (self.needed == _IDX and compressed.is_file())

    def candidates(self) -> list[Path]:
        """Return the folders in which the files are looked for, in order."""
        return [root / folder for root in data_folders() for folder in self.folders]

    def folder(self) -> Path:
        """Return the folder of the files, after a download through torchvision if necessary."""
        folder = self.find()
        if folder is None and self.torchvision_name and _download(self.torchvision_name):
            folder = self.find()
        if folder is None:
            raise self.missing()
        return folder

    def missing(self) -> DataError:
        """Return an error that names the searched folders and the ways to get the files."""
        tried = "".join(f"\n  - {folder}" for folder in self.candidates())
        place = f"a folder named {self.name} and name the folder above it in RAYSWEEP_DATA"
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
    """Download a data set into the cache through torchvision; return whether that worked."""
    from torchvision import datasets

    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints its progress
            getattr(datasets, torchvision_name)(root=str(cache_folder()), download=True)
    except (OSError, RuntimeError):
        return False
    return True


MNIST = PublishedFiles(
    name="mnist", torchvision_name="MNIST", folders=("mnist", "MNIST/raw"), needed=_IDX
)

FASHION_MNIST = PublishedFiles(
    name="fashion_mnist",
    torchvision_name="FashionMNIST",
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    needed=_IDX,
)


def _read_idx_files(files: PublishedFiles) -> RawData:
    """Return the images (n, 1, height, width) of the training set, then of the test set."""
    folder = files.folder()
    arrays = []
    for name in _IDX:
        path = folder / name
        arrays.append(_read_idx(path if path.is_file() else folder / f"{name}.gz"))

    train_images, train_labels, test_images, test_labels = arrays
    labels = np.concatenate([train_labels, test_labels])
    return RawData(
        features=np.concatenate([train_images, test_images])[:, None],
        labels=labels,
        top=255,
        published=np.arange(len(labels)) < len(train_labels),
    )


@dataclass(frozen=True, kw_only=True)
class Mnist:
    """70,000 handwritten digits, 1x28x28, 10 classes (LeCun et al. 1998)."""

    def find(self) -> Path | None:
        """Return the folder of the idx files, or None."""
        return MNIST.find()

    def read(self) -> RawData:
        """Return (70000, 1, 28, 28) bytes."""
        return _read_idx_files(MNIST)


@dataclass(frozen=True, kw_only=True)
class FashionMnist:
    """70,000 pieces of clothing, 1x28x28, 10 classes (Xiao et al. 2017)."""

    def find(self) -> Path | None:
        """Return the folder of the idx files, or None."""
        return FASHION_MNIST.find()

    def read(self) -> RawData:
        """Return (70000, 1, 28, 28) bytes."""
        return _read_idx_files(FASHION_MNIST)
