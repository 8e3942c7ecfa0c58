"""Read the data set of a space and deal it into splits."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.config import check_seed, sub_seed, to_plain
from raysweep.config.plain_text import counted, one_line
from raysweep.config.registry import build, check_keys, fields
from raysweep.data.deal import PublishedSizes, Sizes, deal, deal_published
from raysweep.data.examples import RawData, Source, whole_path
from raysweep.data.groups import at_most
from raysweep.data.labels import check_groups, check_labels, check_subgroups
from raysweep.data.scaling import scale
from raysweep.data.sources import SOURCES, source
from raysweep.data.splits import Split, Splits
from raysweep.data.summary import (
    constants,
    identifiers,
    of_classes,
    of_groups,
    of_subgroups,
    summarise,
)
from raysweep.errors import DataError, SpaceError

ADDED_LATER: dict[str, dict[str, Any]] = {"csv": {"ranges": None, "subgroup": None}}
"""Key that a source got later -> its default, which stands in no configuration: a configuration's
hash is the name of its trials, and that of earlier records stays."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set and the sizes of its splits, checked but not yet read.

    The type of ``sizes`` is PublishedSizes if the published training and test set are kept apart.
    ``deal_seed`` is the seed that deals the examples, None where it is that of the trial.
    """

    name: str
    source: Source
    sizes: Sizes | PublishedSizes
    deal_seed: int | None = None

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

        deal_seed = given.pop("deal_seed", None)
        if deal_seed is not None:
            check_seed(deal_seed, "deal_seed")
        kind: type[Sizes] | type[PublishedSizes] = Sizes if split == "dealt" else PublishedSizes
        if name in SOURCES:
            valid = ("name", "split", "deal_seed", *fields(kind), *fields(SOURCES[name]))
            check_keys(given, valid)
        sizes = build(kind, {key: given.pop(key) for key in fields(kind) if key in given})
        return cls(name=name, source=source(name, given), sizes=sizes, deal_seed=deal_seed)

    @property
    def split(self) -> str:
        """``published``, or ``dealt`` where all examples are pooled."""
        return "published" if isinstance(self.sizes, PublishedSizes) else "dealt"

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        """The source's own parameters, every default filled in."""
        if self.name not in SOURCES:  # the user's own function
            return dict(self.source.parameters)  # type: ignore[attr-defined]
        values = {key: getattr(self.source, key) for key in fields(SOURCES[self.name])}
        later = ADDED_LATER.get(self.name, {})
        return {k: v for k, v in values.items() if k not in later or v != later[k]}

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The whole ``dataset`` block as plain values, all but an absent deal_seed filled in."""
        sizes = {key: getattr(self.sizes, key) for key in fields(type(self.sizes))}
        if sizes.get("records_per_group") is None:  # added later: earlier trials keep their ids
            sizes.pop("records_per_group", None)
        deal = {} if self.deal_seed is None else {"deal_seed": self.deal_seed}
        return {"name": self.name, "split": self.split, **sizes, **deal, **self.parameters}

    def seed_of_deal(self, seed: int) -> int:
        """Return the seed that deals the examples in a trial of ``seed``."""
        return seed if self.deal_seed is None else self.deal_seed

    @property
    def records_per_group(self) -> int | None:
        """The most examples of one group that are dealt, if the data set states it."""
        return self.sizes.records_per_group if isinstance(self.sizes, Sizes) else None

    @property
    def where(self) -> str:
        """What messages call the data set: its name, and the whole path of the user's file."""
        path = self.parameters.get("path")
        return f"dataset {self.name!r}" + (f" ({whole_path(path)})" if path else "")

    def find(self) -> Path | None:
        """Return its file or folder on this machine, or None. Nothing is read or downloaded."""
        return self.source.find()


def deal_key(dataset: Dataset, seed: int) -> str:
    """Return a text that is the same for the same data set, sizes and seed of the deal."""
    settings = {key: value for key, value in dataset.settings.items() if key != "deal_seed"}
    return json.dumps([to_plain(settings), dataset.seed_of_deal(seed)], sort_keys=True)


def load(dataset: Dataset | Mapping[str, Any], *, seed: int) -> Splits:
    """Return the splits of ``dataset``, which may be given by its settings.

    The same data set, sizes and seed give the same splits. The seed is ``dataset.deal_seed`` where
    that is stated.

    Raises:
        DataError: the data set cannot be found, read or dealt into splits of these sizes.
        SpaceError: an unknown name or key.

    """
    if not isinstance(dataset, Dataset):
        dataset = Dataset.parse(dataset)

    examples = dataset.source.read()
    n, where = len(examples.features), dataset.where
    labels = check_labels(examples.labels, n, where, examples.classes)
    groups = None if examples.groups is None else check_groups(examples.groups, n, where)
    subgroups = None
    if examples.subgroups is not None:
        subgroups = check_subgroups(examples.subgroups, n, where)
    seed = dataset.seed_of_deal(seed)
    kept = _kept(dataset, groups, n, seed=sub_seed(seed, "records_per_group"))
    indices = _deal(dataset, examples, labels, groups, kept, seed=sub_seed(seed, "splits"))
    features, top, scaling = scale(examples, indices["pool"], where)
    notes = (*of_classes(examples.classes), *examples.notes)
    notes, most = (*notes, *identifiers(examples), *constants(examples)), None
    if groups is not None:
        most = _group_records(dataset, groups, indices["members"])
        left_out = _left_out(groups, kept)
        notes = (*notes, *left_out, *_changes(dataset, indices, len(kept)), *of_groups(most))
    if subgroups is not None:
        notes = (*notes, of_subgroups(subgroups, indices["members"]))
    n_classes = int(labels.max()) + 1

    return Splits(
        is_published=isinstance(dataset.sizes, PublishedSizes),
        data_hash=_content_hash(
            examples.features,
            labels,
            groups,
            None if subgroups is None else subgroups.codes,
            names=(examples.classes, () if subgroups is None else subgroups.names),
        ),
        notes=tuple(one_line(f"{where}: {note}", most=None) for note in notes),
        summary=one_line(f"{where}: {summarise(examples, groups, indices)}", most=None),
        scaling=scaling,
        classes=examples.classes,
        group_records=most,
        subgroups=subgroups,
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
    dataset: Dataset,
    examples: RawData,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    kept: NDArray[np.int64],
    *,
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    """Return the rows of every split, all of them among ``kept``."""
    if isinstance(dataset.sizes, PublishedSizes):
        if examples.published is None:
            raise DataError(
                f"dataset {dataset.name!r} has no published split", remedy="leave `split` out"
            )
        return deal_published(labels, examples.published, dataset.sizes, seed=seed)

    counts, of_kept = dataset.sizes.counts(len(kept)), None if groups is None else groups[kept]
    dealt = deal(labels[kept], of_kept, counts, seed=seed)
    return {name: kept[rows] for name, rows in dealt.items()}


def _kept(
    dataset: Dataset, groups: NDArray[np.int64] | None, n: int, *, seed: int
) -> NDArray[np.int64]:
    """Return the rows that may be dealt: at most ``records_per_group`` of each group, if stated.

    Raises:
        DataError: it is stated for data without groups.

    """
    most = dataset.records_per_group
    if most is None:
        return np.arange(n)
    if groups is None:
        raise DataError(
            f"{dataset.where}: `records_per_group` needs groups, and the data have none",
            got=most,
            remedy="name the column of persons in `group` (csv), give an array `groups` (npz) or "
            "return groups (your own function), or leave `records_per_group` out",
        )
    return at_most(groups, most, seed=seed)


def _group_records(
    dataset: Dataset, groups: NDArray[np.int64], members: NDArray[np.int64]
) -> int | None:
    """Return how many members one group may have: as stated, or else as the largest one has."""
    if isinstance(dataset.sizes, PublishedSizes):  # groups are not kept together there
        return None
    return dataset.records_per_group or int(np.bincount(groups[members]).max())


def _left_out(groups: NDArray[np.int64], kept: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a note of the rows that ``records_per_group`` has left out."""
    n = len(groups) - len(kept)
    if n == 0:
        return ()
    cut = np.bincount(groups) != np.bincount(groups[kept], minlength=int(groups.max()) + 1)
    return (
        f"records_per_group: {counted(n, 'row')} of {counted(int(cut.sum()), 'group')} left out",
    )


def _changes(dataset: Dataset, indices: Mapping[str, NDArray[np.int64]], n: int) -> tuple[str, ...]:
    """Return a note of the sizes that groups, which are dealt whole, have changed."""
    assert isinstance(dataset.sizes, Sizes)
    asked = dataset.sizes.counts(n)
    changed = [
        f"{name} {len(rows):,}, not {asked[name]:,}"
        for name, rows in indices.items()
        if len(rows) != asked[name]
    ]
    return (f"groups are dealt whole: {', '.join(changed)}",) if changed else ()


def _content_hash(*arrays: NDArray[Any] | None, names: tuple[tuple[str, ...], ...]) -> str:
    """Return the first 16 hex digits of the SHA-256 of arrays and the names of their values.

    Figures of classes and subgroups are recorded under these names.
    """
    digest = hashlib.sha256()
    if any(names):
        digest.update(json.dumps(names).encode())
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            for part in np.array_split(array, max(1, array.nbytes // 2**24)):
                digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]
