"""Sources for a user's own data: a folder of images, an .npz file, or a function."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from raysweep.config.user_errors import told
from raysweep.config.user_function import user_function
from raysweep.data.examples import RawData, to_raw_data, whole_path
from raysweep.data.images import read_image_folder
from raysweep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Your own images: one folder for each class below ``path``, all images of one size."""

    path: Annotated[str, Field(description="folder that holds one folder of images for each class")]

    def find(self) -> Path:
        """Return the whole path of the folder.

        Raises:
            DataError: there is none.

        """
        root = whole_path(self.path)
        if not root.is_dir():
            raise DataError(f"image_folder: there is no folder {root}", remedy="check dataset.path")
        return root

    def read(self) -> RawData:
        """Return (n, channels, height, width) bytes; labels follow the sorted folder names."""
        return read_image_folder(self.find())


def find_file(path: str, name: str) -> Path:
    """Return the whole path of the file of the source called ``name``.

    Raises:
        DataError: there is none.

    """
    file = whole_path(path)
    if not file.is_file():
        what = "a folder, not a file" if file.is_dir() else "no file"
        raise DataError(f"{name}: there is {what} {file}", remedy="check dataset.path")
    return file


def _check_range(ends: tuple[float, float]) -> tuple[float, float]:
    if not (isfinite(ends[1] - ends[0]) and ends[0] < ends[1]):
        raise ValueError(f"`range` must be two finite numbers, the lower first, got {list(ends)}")
    return ends


Range = Annotated[tuple[float, float], AfterValidator(_check_range)]
"""The values of a feature that become 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Npz:
    """Your own arrays: ``path`` to an .npz with ``features`` (images or flat) and ``labels``.

    Arrays ``groups`` and ``subgroups`` are used too. ``range: [low, high]`` gives the values that
    stand for 0 and 1. Without it, images of bytes are divided by 255 (by 1 if they hold 0 and 1
    only), and every other feature is scaled by its range in the pool.
    """

    path: Annotated[
        str,
        Field(
            description="file with the arrays `features`, `labels` and, if any, `groups` and "
            "`subgroups`"
        ),
    ]
    range: Annotated[
        Range | None,
        Field(
            description="values that stand for 0 and 1; null: 0 and 255 for images of bytes, "
            "otherwise the pool's own range, feature by feature"
        ),
    ] = None

    def find(self) -> Path:
        """Return the whole path of the file; raise :class:`DataError` if there is none."""
        return find_file(self.path, "npz")

    def read(self) -> RawData:
        """Return the arrays of the file; images as (n, channels, height, width)."""
        path = self.find()
        arrays, others = read_npz(path)
        notes = (f"arrays left out: {', '.join(others)}",) if others else ()
        try:
            return to_raw_data(**arrays, value_range=self.range, notes=notes)
        except DataError as error:
            raise DataError(f"npz: {path}: {error}") from None


ARRAYS = ("features", "labels", "groups", "subgroups")
"""The arrays of an .npz that are read; it must have the first two."""


def read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays that a file has of ARRAYS, and the names of its others.

    Raises:
        DataError: the file has no such arrays, or is damaged.

    """
    try:
        if not zipfile.is_zipfile(path):
            is_npy = path.read_bytes().startswith(b"\x93NUMPY")
            reason = "it holds one array (.npy)" if is_npy else "it is no zip archive, or torn"
            raise DataError(
                f"npz: {path} is not a whole .npz file ({reason})",
                remedy="write it by numpy.savez(path, features=..., labels=...)",
            )
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"features", "labels"} - set(arrays.files)
            if missing:
                names = ", ".join(arrays.files) or "nothing"
                raise DataError(
                    f"npz: {path} has no {sorted(missing)}; it holds {names}",
                    remedy="name the arrays so in numpy.savez",
                )
            used = [name for name in ARRAYS if name in arrays.files]
            others = [name for name in arrays.files if name not in used]
            return {name: _read_array(arrays, name, path) for name in used}, others
    except (OSError, ValueError, EOFError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"npz: {path} is not a whole .npz file ({error})") from None


def _read_array(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    try:
        return arrays[name]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise DataError(
            f"npz: {path}: `{name}` is an array of Python objects, which may hold code and is not "
            "read",
            remedy="save numbers or texts of one type, for instance array.astype(float)",
        ) from None


RETURNS = "(features, labels), (features, labels, groups) or (features, labels, groups, subgroups)"
"""What a function of a user's returns, in words."""


@plain_dataclass(frozen=True, kw_only=True)
class UserFunction:
    """Your own ``package.module:function(**parameters)``.

    It returns (features, labels[, groups[, subgroups]]), where ``groups`` may be None.
    """

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
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, which argparse raises
            raise DataError(f"dataset {self.reference!r} raised {told(error)}") from error

        if not isinstance(result, tuple) or len(result) not in (2, 3, 4):
            n = f" of {len(result):,}" if isinstance(result, tuple) else ""
            raise DataError(
                f"dataset {self.reference!r} must return {RETURNS}, got {type(result).__name__}{n}"
            )
        try:
            return to_raw_data(*result)
        except (ValueError, TypeError, DataError) as error:
            raise DataError(f"dataset {self.reference!r}: {error}") from None
