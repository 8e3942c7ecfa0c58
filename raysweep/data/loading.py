"""Data sets dealt into splits: the same deal for every trial of a sweep.

Read :func:`load`. ``sources`` holds the readers, ``deal`` the arithmetic of splits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config import plain, sub_seed
from raysweep.config.registry import build, fields
from raysweep.data.deal import PublishedSizes, Sizes, deal, deal_published
from raysweep.data.examples import Examples, Source
from raysweep.data.sources import SOURCES, source
from raysweep.data.splits import SPLITS, Split, Splits, concatenate
from raysweep.errors import DataError, SpaceError

if TYPE_CHECKING:
    pass


__all__ = [
    "SOURCES",
    "SPLITS",
    "Split",
    "Splits",
    "concatenate",
    "describe",
    "find",
    "load",
    "share",
]

_LOADED: dict[str, Splits] = {}

KEPT = 2


def deal_key(dataset: Mapping[str, Any], seed: int) -> str:
    """Name a deal: the same text for the same data set, sizes and seed."""
    return json.dumps([plain(dataset), seed], sort_keys=True)


def load(dataset: Mapping[str, Any], *, seed: int) -> Splits:
    """Return the splits of ``dataset`` (a ``name``, sizes, parameters), the same for a seed.

    The last two deals of this process are kept: a trial may read another data set than its own.

    Raises:
        DataError: it cannot be found, read, or dealt as asked.
        SpaceError: an unknown name or key.

    """
    key = deal_key(dataset, seed)
    if key not in _LOADED:
        _keep(key, _deal(dataset, seed))
    return _LOADED[key]


def _keep(key: str, splits: Splits) -> None:
    _LOADED.pop(key, None)
    for old in list(_LOADED)[: len(_LOADED) + 1 - KEPT]:
        del _LOADED[old]
    _LOADED[key] = splits


def share(dataset: Mapping[str, Any], splits: Splits, *, seed: int) -> None:
    """Let :func:`load` answer with ``splits``, which lie in memory that all workers share."""
    _keep(deal_key(dataset, seed), splits)


def describe(dataset: Mapping[str, Any]) -> tuple[Source, Sizes | PublishedSizes, dict[str, Any]]:
    """Return the source, the sizes and the complete mapping with every default filled in."""
    given = dict(dataset)
    name, split = given.pop("name"), given.pop("split", "dealt")
    if split not in ("dealt", "published"):
        law = "`split` must be `dealt` (all examples pooled) or `published`"
        raise SpaceError(f"{law}, got {split!r}", place=["split"])
    kind: type[Sizes] | type[PublishedSizes] = Sizes if split == "dealt" else PublishedSizes
    sizes = build(kind, {k: given.pop(k) for k in fields(kind) if k in given})
    found = source(name, given)
    filled = {k: getattr(sizes, k) for k in fields(kind)}
    own = given if name not in SOURCES else {k: getattr(found, k) for k in fields(SOURCES[name])}
    return found, sizes, {"name": name, "split": split, **filled, **own}


def find(dataset: Mapping[str, Any]) -> Path | None:
    """Return where the data set lies on this machine, or None; nothing is read or downloaded."""
    return describe(dataset)[0].find()


def _deal(dataset: Mapping[str, Any], seed: int) -> Splits:
    found, sizes, _ = describe(dataset)
    examples = found.read()
    labels = _checked_labels(examples, str(dataset["name"]))
    own_seed = sub_seed(seed, "splits")
    if isinstance(sizes, PublishedSizes):
        if examples.published is None:
            remedy = "leave `split` out"
            raise DataError(f"dataset {dataset['name']!r} has no published split; {remedy}")
        indices = deal_published(labels, examples.published, sizes, seed=own_seed)
    else:
        groups = None if examples.groups is None else np.asarray(examples.groups)
        indices = deal(labels, groups, sizes.counts(len(labels)), seed=own_seed)
    features, top = _scaled(examples, indices["pool"], str(dataset["name"]))
    n_classes = int(labels.max()) + 1
    return Splits(
        is_published=isinstance(sizes, PublishedSizes),
        **{
            name: Split(
                features=np.ascontiguousarray(features[rows]),
                labels=labels[rows],
                indices=rows,
                top=top,
                n_classes=n_classes,
            )
            for name, rows in indices.items()
        },
    )


def _checked_labels(examples: Examples, name: str) -> NDArray[np.int64]:
    """Return labels 0 .. classes - 1, each of them present."""
    labels = np.asarray(examples.labels)
    if len(labels) != len(examples.features):
        told = f"{len(examples.features):,} features and {len(labels):,} labels"
        raise DataError(f"dataset {name!r} has {told}; they must pair")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        law = "labels must be one column of whole numbers from 0"
        raise DataError(f"dataset {name!r}: {law}, got {labels.dtype} of shape {labels.shape}")
    if len(labels) == 0 or labels.min() < 0:
        raise DataError(f"dataset {name!r}: labels must start at 0 and there must be examples")
    counts = np.bincount(labels.astype(np.int64))
    if (counts == 0).any():
        empty = np.flatnonzero(counts == 0).tolist()
        raise DataError(
            f"dataset {name!r}: class {empty[0]} has no example; number classes 0, 1, 2 ..."
        )
    if (counts == 1).any():
        single = np.flatnonzero(counts == 1).tolist()
        law = "has a single example; members and nonmembers cannot both have some of it"
        remedy = "add one, or leave the class out"
        raise DataError(f"dataset {name!r}: class {single[0]} {law}; {remedy}")
    if len(counts) < 2:
        raise DataError(f"dataset {name!r} has one class only; a classifier needs two")
    return labels.astype(np.int64)


def _scaled(examples: Examples, pool: NDArray[np.int64], name: str) -> tuple[NDArray[Any], float]:
    """Return the features and the value that stands for 1.0 in them."""
    features = examples.features
    if features.dtype.kind == "f" and not np.isfinite(features).all():
        raise DataError(f"dataset {name!r} holds features that are not finite numbers")
    if examples.top is not None:
        whole = features.dtype == np.uint8
        return (features if whole else features.astype(np.float32)), examples.top
    x = features.astype(np.float32)
    if x.min() >= 0 and x.max() <= 1:
        return x, 1.0
    if len(pool) == 0:
        raise DataError(
            f"dataset {name!r}: state `range: [low, high]`, or give it a pool to scale by"
        )
    low, high = x[pool].min(axis=0), x[pool].max(axis=0)
    return ((x - low) / np.maximum(high - low, 1e-12)).clip(0, 1), 1.0
