"""The catalogue of data sets. Each is a frozen dataclass with ``find`` and ``read``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysweep.config.registry import build, lookup
from raysweep.config.user_function import is_reference
from raysweep.data.cifar import Cifar10, Cifar100
from raysweep.data.examples import Source
from raysweep.data.faces import OrlFaces
from raysweep.data.published import Digits, FashionMnist, Mnist
from raysweep.data.table import Csv
from raysweep.data.tabular import Purchase100, SyntheticPurchase, Texas100
from raysweep.data.user import ImageFolder, Npz, UserFunction
from raysweep.errors import SpaceError

SOURCES: dict[str, type[Any]] = {
    "digits": Digits,
    "mnist": Mnist,
    "fashion_mnist": FashionMnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "orl_faces": OrlFaces,
    "purchase100": Purchase100,
    "texas100": Texas100,
    "synthetic_purchase": SyntheticPurchase,
    "image_folder": ImageFolder,
    "npz": Npz,
    "csv": Csv,
}


def source(name: str, parameters: Mapping[str, Any]) -> Source:
    """Return the source called ``name``, or a user's function, with its parameters checked."""
    if is_reference(name):
        return UserFunction(reference=name, parameters=dict(parameters))
    remedy = file_remedy(name)
    if name not in SOURCES and remedy:
        raise SpaceError(f"unknown dataset {name!r}", remedy=remedy)
    kind = lookup(SOURCES, name, "dataset")
    built: Source = build(kind, parameters)
    return built


def file_remedy(name: object) -> str:
    """Return how to write a data set that was given by the name of its file; empty for others.

    >>> file_remedy("breast.csv")
    'name the file as `path`: {name: csv, path: breast.csv, label: COLUMN}'
    """
    path = str(name)
    if isinstance(name, str) and path.endswith(".csv"):
        return f"name the file as `path`: {{name: csv, path: {path}, label: COLUMN}}"
    if isinstance(name, str) and path.endswith(".npz"):
        return f"name the file as `path`: {{name: npz, path: {path}}}"
    if isinstance(name, str) and ("/" in path or "." in path):
        return (
            "name a file as `path` of npz or csv, a folder of images as `path` of image_folder, or "
            "write a function `module:function` that returns (features, labels)"
        )
    return ""
