"""The ORL database of faces (Samaria & Harter 1994)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from raysweep.data.examples import RawData
from raysweep.data.images import read_classes
from raysweep.data.published import PublishedFiles
from raysweep.errors import DataError

ORL_FACES = PublishedFiles(
    name="orl_faces",
    torchvision_name=None,
    folders=("orl_faces", "att_faces", "ORL"),
    needed=("s1/1.pgm", "s40/10.pgm"),
    origin="the folders s1 to s40 of AT&T Laboratories Cambridge's Database of Faces",
)

N_TRAINING = 7
"""Images of each person in the training set. No source says which of the ten images they are."""


@dataclass(frozen=True, kw_only=True)
class OrlFaces:
    """400 grey faces of 40 people, 1x112x92, ten images each (Samaria & Harter 1994)."""

    def find(self) -> Path | None:
        """Return the folder of s1 to s40, or None."""
        return ORL_FACES.find()

    def read(self) -> RawData:
        """Return (400, 1, 112, 92) bytes. Label 0 is s1.

        The first seven images of each person are the published training set.
        """
        root = ORL_FACES.folder()
        people = [folder for folder in root.glob("s*") if folder.name[1:].isdigit()]
        people.sort(key=lambda folder: int(folder.name[1:]))
        faces = read_classes(people, "orl_faces", order=_number)

        image_numbers = np.concatenate([np.arange(n) for n in np.bincount(faces.labels)])
        return replace(faces, published=image_numbers < N_TRAINING)


def _number(path: Path) -> int:
    """Return the number in the name of an image file."""
    if not path.stem.isdigit():
        raise DataError(
            f"orl_faces: {path} is not named by a number", remedy="take it out of the folder"
        )
    return int(path.stem)
