"""Sources for a user's own data: a folder of images, an .npz file, or a function."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.config.user_function import user_function
from raysweep.data.examples import RawData, to_raw_data
from raysweep.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Your own images: one folder for each class below ``path``, all images of one size."""

    path: Annotated[str, Field(description="folder that holds one folder of images for each class")]

    def find(self) -> Path | None:
        """Return the folder, or None."""
        return Path(self.path) if Path(self.path).is_dir() else None

    def read(self) -> RawData:
        """Return (n, channels, height, width) bytes; labels follow the sorted folder names."""
        root = Path(self.path)
        if not root.is_dir():
            raise DataError(f"image_folder: there is no folder {root}", remedy="check dataset.path")
        classes = sorted(folder for folder in root.iterdir() if folder.is_dir())
        if not classes:
            raise DataError(f"image_folder: {root} holds no class folders with images")
        return read_classes(classes, "image_folder")


def read_classes(
    folders: Sequence[Path], name: str, order: Callable[[Path], Any] | None = None
) -> RawData:
    """Return the images of all folders; the label of an image is the position of its folder.

    Raises:
        DataError: a folder has fewer than two images, or an image cannot be read or differs in
            size.

    """
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise DataError(f"{name}: class folder {folder} is empty", remedy="fill or remove it")

        for path in sorted(files, key=order):
            images.append(_read_image(path))
            labels.append(label)
            if images[-1].shape != images[0].shape:
                raise DataError(
                    f"{name}: images differ in size: {path} is {images[-1].shape}, the first one "
                    f"{images[0].shape}",
                    remedy="resize them",
                )

        if len(files) == 1:
            raise DataError(
                f"{name}: class folder {folder} has a single image, so members and nonmembers "
                "cannot both have one of this class",
                remedy="add one, or remove the folder",
            )

    return RawData(features=np.stack(images), labels=np.array(labels), top=255)


def _read_image(path: Path) -> NDArray[np.uint8]:
    """Return (channels, height, width) bytes; a grey image has one channel, others three."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):
                return (np.asarray(image) // 257).astype(np.uint8)[None]  # 65535 becomes 255
            if image.mode in ("I", "F"):
                raise ValueError(f"mode {image.mode} has no fixed range; save it as 8 or 16 bits")

            is_grey = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image.convert("L" if is_grey else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({error})", remedy="remove or repair it"
        ) from None

    return pixels[None] if is_grey else pixels.transpose(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Npz:
    """Your own arrays: ``path`` to an .npz with ``features`` (images or flat) and ``labels``.

    ``range: [low, high]`` gives the values that stand for 0 and 1. Without it, images of bytes are
    divided by 255, and every other feature is scaled by its range in the pool.
    """

    path: Annotated[str, Field(description="file with the arrays `features` and `labels`")]
    range: Annotated[
        tuple[float, float] | None,
        Field(
            description="values that stand for 0 and 1; null: 0 and 255 for images of bytes, "
            "otherwise the pool's own range, feature by feature"
        ),
    ] = None

    def find(self) -> Path | None:
        """Return the file, or None."""
        return Path(self.path) if Path(self.path).is_file() else None

    def read(self) -> RawData:
        """Return the arrays of the file; images as (n, channels, height, width)."""
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"npz: there is no file {path}", remedy="check dataset.path")
        return to_raw_data(*read_npz(path), value_range=self.range)


def read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the arrays ``features`` and ``labels`` of a file.

    Raises:
        DataError: the file has no such arrays, or is damaged.

    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = {"features", "labels"} - set(arrays.files)
            if missing:
                names = ", ".join(arrays.files) or "nothing"
                raise DataError(f"npz: {path} has no {sorted(missing)}; it holds {names}")
            return arrays["features"], arrays["labels"]
    except (OSError, ValueError, EOFError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"npz: {path} is not a whole .npz file ({error})") from None


@plain_dataclass(frozen=True, kw_only=True)
class UserFunction:
    """Your own ``package.module:function(**parameters) -> (features, labels[, groups])``."""

    reference: str
    parameters: Mapping[str, Any]

    def find(self) -> Path | None:
        """Return the working directory; the function itself is looked for when it is called."""
        return Path.cwd()

    def read(self) -> RawData:
        """Return the arrays that the function returns."""
        function = user_function(self.reference, "dataset")
        try:
            result = function(**self.parameters)
        except Exception as error:
            raise DataError(
                f"dataset {self.reference!r} raised {type(error).__name__}: {error}"
            ) from error

        if not isinstance(result, tuple) or len(result) not in (2, 3):
            raise DataError(
                f"dataset {self.reference!r} must return (features, labels) or (features, labels, "
                f"groups), got {type(result).__name__}"
            )
        try:
            return to_raw_data(*result)
        except (ValueError, TypeError, DataError) as error:
            raise DataError(f"dataset {self.reference!r}: {error}") from None
