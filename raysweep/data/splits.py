"""Types for one split of a data set, and for all of its splits together."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysweep.data.deal import SPLITS
from raysweep.data.scaling import Scaling

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some examples of a data set.

    - ``features`` (n, *shape), bytes or float32. ``top`` is the value that stands for 1.0: bytes
      are converted to floats only when a batch is made, which saves memory.
    - ``labels`` (n,), int64.
    - ``indices`` (n,): the position of each example in the data set.
    """

    features: NDArray[Any]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    top: float
    n_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.features.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether an example is (channels, height, width)."""
        return len(self.shape) == 3

    def pixels(self) -> NDArray[np.float32]:
        """Return all features as float32 in [0, 1], (n, *shape)."""
        return self.features.astype(np.float32) / np.float32(self.top)

    def rows(self, rows: NDArray[Any]) -> Split:
        """Return the examples at ``rows``."""
        return Split(
            features=self.features[rows],
            labels=self.labels[rows],
            indices=self.indices[rows],
            top=self.top,
            n_classes=self.n_classes,
        )

    def tensors(self, device: Any) -> tuple[Tensor, Tensor]:
        """Return (features, labels) on ``device``, not scaled. On the CPU nothing is copied."""
        import torch

        with warnings.catch_warnings():  # arrays in shared memory are read-only; none is written
            warnings.filterwarnings("ignore", message=".*not writable.*")
            x, y = torch.from_numpy(self.features), torch.from_numpy(self.labels)

        # One channel may have any stride. With the usual one, torch does not take the examples
        # for channels last, so that a model computes alike wherever the array was made.
        x = x.reshape(-1).view(x.shape)

        if torch.device(device).type == "cuda":
            return x.pin_memory().to(device, non_blocking=True), y.to(device)
        return x, y


def concatenate(first: Split, second: Split, order: NDArray[np.int64] | None = None) -> Split:
    """Return the examples of ``first``, then those of ``second``, or both in ``order``.

    Rows are copied to their final positions directly, to save memory.
    """
    n = len(first) + len(second)
    positions = np.arange(n) if order is None else np.argsort(order)

    def join(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        both = np.empty((n, *one.shape[1:]), np.result_type(one, other))
        both[positions[: len(first)]] = one
        both[positions[len(first) :]] = other
        return both

    return Split(
        features=join(first.features, second.features),
        labels=join(first.labels, second.labels),
        indices=join(first.indices, second.indices),
        top=first.top,
        n_classes=first.n_classes,
    )


@dataclass(frozen=True, kw_only=True)
class Subgroups:
    """What figures are told apart by: ``codes`` (all examples of the data set,) into ``names``."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]

    def of(self, examples: Split) -> NDArray[np.int64]:
        """Return the code of each example of a split, (n,)."""
        return self.codes[examples.indices]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The splits of one data set, dealt by one seed.

    - ``members``: the target is trained on them.
    - ``nonmembers``: no target is trained on them.
    - ``pool``: the attacker's own data.
    - ``reference``: public data.
    - ``validation``: the accuracy of a trial is measured on it.
    - ``test``: read by nothing but the confirmation of a front.

    ``data_hash`` identifies the whole data set. ``notes`` are sentences about what was left out or
    changed while the data were read; ``summary`` is one on how many rows, features and groups there
    are, and how many examples each split got. ``scaling`` is what made raw features the splits'
    features in [0, 1], where it is known, and ``classes`` are the names of the classes, if any.
    ``group_records`` is how many members one group may have: the cap that the data set states, or
    else the members of the largest group; None without groups. ``subgroups`` are what figures are
    told apart by, None without any.

    Splits are disjoint, with one exception: validation examples of a published test set may serve
    as nonmembers too. :attr:`kind` tells the two cases apart.
    """

    members: Split
    nonmembers: Split
    pool: Split
    reference: Split
    validation: Split
    test: Split
    is_published: bool = False
    data_hash: str = ""
    notes: tuple[str, ...] = ()
    summary: str = ""
    scaling: Scaling | None = None
    classes: tuple[str, ...] = ()
    group_records: int | None = None
    subgroups: Subgroups | None = None

    @property
    def kind(self) -> str:
        """``dealt``, ``published``, or ``published, validation as nonmembers``."""
        if not self.is_published:
            return "dealt"
        is_shared = np.array_equal(self.nonmembers.indices, self.validation.indices)
        return "published, validation as nonmembers" if is_shared else "published"

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each split."""
        return {name: len(getattr(self, name)) for name in SPLITS}

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of all indices: it identifies the deal."""
        digest = hashlib.sha256()
        for name in SPLITS:
            digest.update(name.encode() + getattr(self, name).indices.tobytes())
        return digest.hexdigest()[:16]
