"""Read the data set of a space and deal it into splits."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config import sub_seed, to_plain
from raysweep.config.registry import build, fields
from raysweep.data.deal import PublishedSizes, Sizes, deal, deal_published
from raysweep.data.examples import RawData, Source
from raysweep.data.sources import SOURCES, source
from raysweep.data.splits import Split, Splits
from raysweep.errors import DataError, SpaceError


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set and the sizes of its splits, checked but not yet read.

    The type of ``sizes`` is PublishedSizes if the published training and test set are kept apart.
    """

    name: str
    source: Source
    sizes: Sizes | PublishedSizes

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Dataset:
        """Return the data set of a space's ``dataset`` block.

        Raises:
            SpaceError: an unknown name or key, or a value that breaks a rule.

        """
        given = dict(settings)
        name, split = given.pop("name"), given.pop("split", "dealt")
        if split not in ("dealt", "published"):
            rule = "`split` must be `dealt` (all examples pooled) or `published`"
            raise SpaceError(rule, got=split, place=["split"])

        kind: type[Sizes] | type[PublishedSizes] = Sizes if split == "dealt" else PublishedSizes
        sizes = build(kind, {key: given.pop(key) for key in fields(kind) if key in given})
        return cls(name=name, source=source(name, given), sizes=sizes)

    @property
    def split(self) -> str:
        """``published``, or ``dealt`` where all examples are pooled."""
        return "published" if isinstance(self.sizes, PublishedSizes) else "dealt"

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        """The source's own parameters, every default filled in."""
        if self.name not in SOURCES:  # the user's own function
            return dict(self.source.parameters)  # type: ignore[attr-defined]
        return {key: getattr(self.source, key) for key in fields(SOURCES[self.name])}

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The whole ``dataset`` block as plain values, every default filled in."""
        sizes = {key: getattr(self.sizes, key) for key in fields(type(self.sizes))}
        return {"name": self.name, "split": self.split, **sizes, **self.parameters}

    def find(self) -> Path | None:
        """Return its file or folder on this machine, or None. Nothing is read or downloaded."""
        return self.source.find()


def deal_key(dataset: Dataset, seed: int) -> str:
    """Return a text that is the same for the same data set, sizes and seed."""
    return json.dumps([to_plain(dataset.settings), seed], sort_keys=True)


def load(dataset: Dataset | Mapping[str, Any], *, seed: int) -> Splits:
    """Return the splits of ``dataset``, which may be given by its settings.

    The same data set, sizes and seed give the same splits.

    Raises:
        DataError: the data set cannot be found, read or dealt into splits of these sizes.
        SpaceError: an unknown name or key.

    """
    if not isinstance(dataset, Dataset):
        dataset = Dataset.parse(dataset)

    examples = dataset.source.read()
    labels = _check_labels(examples, dataset.name)
    indices = _deal(dataset, examples, labels, seed=sub_seed(seed, "splits"))
    features, top = _scale(examples, indices["pool"], dataset.name)
    n_classes = int(labels.max()) + 1

    return Splits(
        is_published=isinstance(dataset.sizes, PublishedSizes),
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


def _deal(
    dataset: Dataset, examples: RawData, labels: NDArray[np.int64], *, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Return the rows of every split."""
    if isinstance(dataset.sizes, PublishedSizes):
        if examples.published is None:
            raise DataError(
                f"dataset {dataset.name!r} has no published split", remedy="leave `split` out"
            )
        return deal_published(labels, examples.published, dataset.sizes, seed=seed)

    groups = None if examples.groups is None else np.asarray(examples.groups)
    return deal(labels, groups, dataset.sizes.counts(len(labels)), seed=seed)


def _check_labels(examples: RawData, name: str) -> NDArray[np.int64]:
    """Return the labels as int64, after checking that they are 0 to classes - 1 without a gap."""
    labels = np.asarray(examples.labels)
    if len(labels) != len(examples.features):
        raise DataError(
            f"dataset {name!r} has {len(examples.features):,} features and {len(labels):,} labels; "
            "the two numbers must be equal"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"dataset {name!r}: labels must be one column of whole numbers from 0, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) == 0 or labels.min() < 0:
        raise DataError(f"dataset {name!r}: there must be examples, and labels must start at 0")

    counts = np.bincount(labels.astype(np.int64))
    if (counts == 0).any():
        raise DataError(
            f"dataset {name!r}: class {np.flatnonzero(counts == 0)[0]} has no example",
            remedy="number classes 0, 1, 2 ...",
        )
    if (counts == 1).any():
        raise DataError(
            f"dataset {name!r}: class {np.flatnonzero(counts == 1)[0]} has a single example, so "
            "members and nonmembers cannot both have one of this class",
            remedy="add one, or leave the class out",
        )
    if len(counts) < 2:
        raise DataError(f"dataset {name!r} has one class only; a classifier needs two")

    return labels.astype(np.int64)


def _scale(examples: RawData, pool: NDArray[np.int64], name: str) -> tuple[NDArray[Any], float]:
    """Return the features and the value that stands for 1.0 in them.

    Features of unknown range are scaled to [0, 1] by their range in the pool.

    Raises:
        DataError: a feature is not finite, or the range is unknown and the pool is empty.

    """
    features = examples.features
    if features.dtype.kind == "f" and not np.isfinite(features).all():
        raise DataError(f"dataset {name!r} holds features that are not finite numbers")
    if examples.top is not None:
        is_bytes = features.dtype == np.uint8
        return (features if is_bytes else features.astype(np.float32)), examples.top

    x = features.astype(np.float32)
    if x.min() >= 0 and x.max() <= 1:
        return x, 1.0

    if len(pool) == 0:
        raise DataError(
            f"dataset {name!r}: state `range: [low, high]`, or give it a pool to scale by"
        )
    low, high = x[pool].min(axis=0), x[pool].max(axis=0)
    return ((x - low) / np.maximum(high - low, 1e-12)).clip(0, 1), 1.0
