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
from raysweep.data.tabular import Purchase100, SyntheticPurchase, Texas100
from raysweep.data.user import ImageFolder, Npz, UserFunction

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
}


def source(name: str, parameters: Mapping[str, Any]) -> Source:
    """Return the source called ``name``, or a user's function, with its parameters checked."""
    if is_reference(name):
        return UserFunction(reference=name, parameters=dict(parameters))
    kind = lookup(SOURCES, name, "dataset")
    built: Source = build(kind, parameters)
    return built
