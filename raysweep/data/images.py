"""Read folders of images, one for each class, and count what is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.data.examples import RawData, top_of_bytes
from raysweep.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_PHOTOGRAPHS = {".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".heic", ".heif", ".jxl", ".jp2"}
_GRAPHICS = {".png", ".gif", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".tga", ".ico"}
IMAGE_SUFFIXES = _PHOTOGRAPHS | _GRAPHICS | {".svg", ".dcm"}
"""Files with these names are images: they are read, or refused by name if Pillow cannot."""

_OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "lost+found", "@eadir")
SYSTEM_FILES = frozenset((*_OF_SYSTEMS, "system volume information", "#recycle", "__pycache__"))

SHOWN = 3  # files that a note names


@dataclass(frozen=True)
class Notes:
    """The files of a folder that were left out or changed, by what happened to them."""

    root: Path
    found: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, what: str, path: Path) -> None:
        """Count a file."""
        self.found.setdefault(what, []).append(path)

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each thing that happened, with the number of files and names."""
        return tuple(f"{what}: {self._listed(paths)}" for what, paths in self.found.items())

    def _listed(self, paths: list[Path]) -> str:
        names = ", ".join(str(path.relative_to(self.root)) for path in sorted(paths)[:SHOWN])
        more = ", ..." if len(paths) > SHOWN else ""
        return f"{len(paths):,} ({names}{more})"


def read_image_folder(root: Path) -> RawData:
    """Return the images below ``root``; labels follow the sorted names of its class folders."""
    notes = Notes(root)
    classes = []
    for path in sorted(root.iterdir()):
        if _is_hidden(path):
            notes.add("hidden or system files left out", path)
        elif path.is_dir():
            classes.append(path)
        else:
            notes.add("files in no class folder left out", path)

    if not classes:
        raise DataError(f"image_folder: {root} holds no class folders with images")
    return read_classes(classes, "image_folder", notes=notes)


def read_classes(
    folders: Sequence[Path],
    name: str,
    order: Callable[[Path], Any] | None = None,
    notes: Notes | None = None,
) -> RawData:
    """Return the images of all folders; the label of an image is the position of its folder.

    Hidden files and files that are no images are left out and counted in ``notes``.

    Raises:
        DataError: a folder has fewer than two images or holds folders of images, or an image cannot
            be read or differs in size.

    """
    notes = notes or Notes(folders[0].parent)
    images: list[NDArray[np.uint8]] = []
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = sorted(_image_files(folder, name, notes), key=order)
        for path in files:
            images.append(_read_image(path, notes))
            if images[-1].shape[1:] != images[0].shape[1:]:
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
        paths += files
        labels += [label] * len(files)

    features = np.stack(_with_equal_channels(images, paths, notes))
    try:
        top = top_of_bytes(features)
    except DataError as error:
        raise DataError(f"{name}: {notes.root}: {error}") from None
    return RawData(
        features=features,
        labels=np.array(labels),
        top=top,
        classes=tuple(folder.name for folder in folders),
        notes=notes.sentences(),
    )


def _image_files(folder: Path, name: str, notes: Notes) -> list[Path]:
    """Return the image files directly in a class folder."""
    files = []
    for path in folder.iterdir():
        if _is_hidden(path):
            notes.add("hidden or system files left out", path)
        elif path.is_dir():
            _refuse_deeper_images(path, folder, name)
            notes.add("folders without images left out", path)
        elif path.exists() and not path.is_file():  # to open a pipe may last for ever
            raise DataError(f"{name}: {path} is not a file", remedy="remove it")
        elif path.suffix.lower() in IMAGE_SUFFIXES or _is_image(path):
            files.append(path)
        else:
            notes.add("files that are no images left out", path)

    if not files:
        raise DataError(f"{name}: class folder {folder} is empty", remedy="fill or remove it")
    return files


def _refuse_deeper_images(inner: Path, folder: Path, name: str) -> None:
    for path in inner.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(path) and path.is_file():
            raise DataError(
                f"{name}: images must lie directly in their class folder, and {folder} holds a "
                f"folder of images: {path}",
                remedy=f"move the images up, or, if the folders in {folder} are the classes, give "
                "it as dataset.path",
            )


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def _is_image(path: Path) -> bool:
    """Return whether Pillow knows the content of a file, whatever its name."""
    from PIL import Image

    try:
        with Image.open(path):
            return True
    except Exception:  # a plugin may raise anything for a file of another kind
        return False


def _read_image(path: Path, notes: Notes) -> NDArray[np.uint8]:
    """Return (channels, height, width) bytes; a grey image has one channel, others three."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            n_frames = getattr(image, "n_frames", 1)
            if n_frames > 1 and image.format != "MPO":  # MPO: a photograph with its preview
                raise ValueError(f"it holds {n_frames} pictures; save one of them")
            if image.mode.startswith("I;16"):
                notes.add("images of 16 bits read with 8 bits", path)
                return (np.asarray(image) // 257).astype(np.uint8)[None]  # 65535 becomes 255
            if image.mode in ("I", "F"):
                raise ValueError(f"mode {image.mode} has no fixed range; save it as 8 or 16 bits")

            if _is_transparent(image):
                notes.add("images whose transparency was left out", path)
            is_grey = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image.convert("L" if is_grey else "RGB"))
    except Exception as error:  # Pillow has no common error for images that it cannot read
        raise DataError(
            f"{path} cannot be read as an image ({error})",
            remedy="remove or repair it, or save it as PNG",
        ) from None

    return pixels[None] if is_grey else pixels.transpose(2, 0, 1)


def _is_transparent(image: Image.Image) -> bool:
    """Return whether a pixel of an image is not opaque."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return False
    low, _ = image.convert("RGBA").getchannel("A").getextrema()
    return bool(low < 255)  # type: ignore[operator]


def _with_equal_channels(
    images: list[NDArray[np.uint8]], paths: list[Path], notes: Notes
) -> list[NDArray[np.uint8]]:
    """Return the images; grey ones among coloured ones get three equal channels."""
    if len({len(image) for image in images}) == 1:
        return images
    for path, image in zip(paths, images, strict=True):
        if len(image) == 1:
            notes.add("grey images among coloured ones read as coloured", path)
    return [np.repeat(image, 3, axis=0) if len(image) == 1 else image for image in images]
