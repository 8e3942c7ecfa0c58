"""Where examples come from: one frozen dataclass a source, and the table of their names.

``read()`` returns every example of a data set, pooled; ``find()`` says whether it is on disk
without reading it. Imports of readers happen inside, so that naming a data set costs nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from raysweep.errors import DataError
from raysweep.registry import build, is_reference, lookup, user_function

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


@plain_dataclass(frozen=True, kw_only=True)
class Examples:
    """Every example of a data set, unscaled.

    ``features`` (n, *shape); ``labels`` (n,); ``groups`` (n,) or None; ``top`` is the value that
    stands for 1.0 when the range is known (255 for bytes), None when it is to be taken from data.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    top: float | None = None


class Source(Protocol):
    """A data set that can be read whole."""

    def find(self) -> Path | None:
        """Return where it lies on this machine, or None."""

    def read(self) -> Examples:
        """Return all its examples; raise :class:`DataError` that says what to do otherwise."""


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
    except (OSError, EOFError, ValueError, IndexError) as error:
        remedy = "delete it and fetch it again"
        raise DataError(f"{path} is not a whole idx file ({error}); {remedy}") from None


@plain_dataclass(frozen=True)
class Files:
    """The files of a published data set: where they lie, what they are called, who has them."""

    name: str
    torchvision_name: str
    folders: tuple[str, ...]
    needed: tuple[str, ...]

    def find(self) -> Path | None:
        """Return the first folder that holds every needed file, plain or .gz, or None."""
        for folder in self.candidates():
            if all(_present(folder / name) for name in self.needed):
                return folder
        return None

    def candidates(self) -> list[Path]:
        """Return the folders that are looked in, in order."""
        return [root / folder for root in data_folders() for folder in self.folders]

    def folder(self) -> Path:
        """Return where the files lie, fetching them through torchvision when they are nowhere."""
        found = self.find()
        if found is None and _download(self.torchvision_name):
            found = self.find()
        if found is None:
            raise self.missing()
        return found

    def missing(self) -> DataError:
        """Return the error that says where it was looked for and the three ways to get it."""
        tried = "".join(f"\n  - {folder}" for folder in self.candidates())
        return DataError(
            f"data set {self.name!r} is not on this machine and could not be downloaded. "
            f"Looked in:{tried}\nThree ways to get it: (1) put {', '.join(self.needed)} into a "
            f"folder named {self.name} and pass the folder above it with --data-root or "
            "RAYSWEEP_DATA; (2) install it for the whole system in /usr/share/datasets (Debian has "
            "Fashion-MNIST as the package dataset-fashion-mnist); (3) run once where there is a "
            f"network, and copy {cache_folder()} to this machine."
        )


def _present(path: Path) -> bool:
    return path.is_file() or path.with_name(path.name + ".gz").is_file()


def _download(torchvision_name: str) -> bool:
    """Fetch a data set into the cache through torchvision; return whether that worked."""
    from torchvision import datasets

    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision shows its progress
            getattr(datasets, torchvision_name)(root=str(cache_folder()), download=True)
    except (OSError, RuntimeError):
        return False
    return True


_IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
MNIST = Files("mnist", "MNIST", ("mnist", "MNIST/raw"), _IDX)
FASHION_MNIST = Files(
    "fashion_mnist",
    "FashionMNIST",
    ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    _IDX,
)
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


def _idx_examples(files: Files) -> Examples:
    folder = files.folder()
    parts = []
    for name in _IDX:
        plain = folder / name
        parts.append(_read_idx(plain if plain.is_file() else folder / f"{name}.gz"))
    features = np.concatenate([parts[0], parts[2]])[:, None]
    return Examples(features=features, labels=np.concatenate([parts[1], parts[3]]), top=255)


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
    return Examples(features=np.concatenate(features), labels=np.concatenate(labels), top=255)


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


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Your own images: one folder a class below ``path``, all images of one size."""

    path: str

    def find(self) -> Path | None:
        """Return the folder, or None."""
        return Path(self.path) if Path(self.path).is_dir() else None

    def read(self) -> Examples:
        """Return (n, channels, height, width) bytes; labels follow the sorted folder names."""
        root = Path(self.path)
        if not root.is_dir():
            raise DataError(f"image_folder: there is no folder {root}; check dataset.path")
        classes = sorted(folder for folder in root.iterdir() if folder.is_dir())
        images: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        for label, folder in enumerate(classes):
            files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
            if not files:
                raise DataError(f"image_folder: class folder {folder} is empty; fill or remove it")
            for path in files:
                images.append(_read_image(path))
                labels.append(label)
                if images[-1].shape != images[0].shape:
                    told = f"{path} is {images[-1].shape}, the first one {images[0].shape}"
                    raise DataError(f"image_folder: images differ in size: {told}; resize them")
        if not images:
            raise DataError(f"image_folder: {root} holds no class folders with images")
        return Examples(features=np.stack(images), labels=np.array(labels), top=255)


def _read_image(path: Path) -> NDArray[np.uint8]:
    """Return (channels, height, width) bytes: grey images have one channel, others three."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "I", "I;16", "F")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); remove or mend it") from None
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Npz:
    """Your own arrays: ``path`` to an .npz with ``features`` (images or flat) and ``labels``.

    ``range: [low, high]`` states what stands for 0 and 1; without it bytes are divided by 255 and
    other numbers are scaled by the pool's own range, feature by feature.
    """

    path: str
    range: tuple[float, float] | None = None

    def find(self) -> Path | None:
        """Return the file, or None."""
        return Path(self.path) if Path(self.path).is_file() else None

    def read(self) -> Examples:
        """Return what the file holds; images as (n, channels, height, width)."""
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"npz: there is no file {path}; check dataset.path")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                missing = {"features", "labels"} - set(arrays.files)
                if missing:
                    has = ", ".join(arrays.files) or "nothing"
                    raise DataError(f"npz: {path} has no {sorted(missing)}; it holds {has}")
                features, labels = arrays["features"], arrays["labels"]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"npz: {path} is not a whole .npz file ({error})") from None
        return as_examples(features, labels, value_range=self.range)


def as_examples(
    features: Any,
    labels: Any,
    groups: Any = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> Examples:
    """Return a user's arrays as examples: images get a channel axis, a stated range is [0, 1]."""
    x, y = np.asarray(features), np.asarray(labels)
    if x.dtype.kind not in "buif":
        raise DataError(f"features must be numbers, got {x.dtype}")
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


@plain_dataclass(frozen=True, kw_only=True)
class UserFunction:
    """Your own ``package.module:function(**parameters) -> (features, labels[, groups])``."""

    reference: str
    parameters: Mapping[str, Any]

    def find(self) -> Path | None:
        """Return the working directory: the function is known to be there only once it runs."""
        return Path.cwd()

    def read(self) -> Examples:
        """Return what the function returns."""
        function = user_function(self.reference, "dataset")
        try:
            result = function(**self.parameters)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise DataError(f"dataset {self.reference!r} raised {told}") from error
        if not isinstance(result, tuple) or len(result) not in (2, 3):
            told = "must return (features, labels) or (features, labels, groups)"
            raise DataError(f"dataset {self.reference!r} {told}, got {type(result).__name__}")
        return as_examples(*result)


SOURCES: dict[str, type[Any]] = {
    "digits": Digits,
    "mnist": Mnist,
    "fashion_mnist": FashionMnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "image_folder": ImageFolder,
    "npz": Npz,
}


def source(name: str, parameters: Mapping[str, Any]) -> Source:
    """Return the source that a space names, with its parameters checked."""
    if is_reference(name):
        return UserFunction(reference=name, parameters=dict(parameters))
    kind = lookup(SOURCES, name, "dataset")
    built: Source = build(kind, parameters)
    return built
