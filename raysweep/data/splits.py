"""Some examples of a data set, and one deal of it."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


SPLITS = ("members", "nonmembers", "pool", "reference", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some examples of a data set.

    ``features`` (n, *shape), bytes or float32; ``top`` is the value that stands for 1.0, so that
    bytes stay bytes until a batch is made. ``labels`` (n,) int64. ``indices`` (n,) in the data set.
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
        """Return (features, labels) on ``device``; features unscaled, without a copy on the CPU."""
        import torch

        with warnings.catch_warnings():  # shared memory is read-only, and nobody writes to it
            warnings.filterwarnings("ignore", message=".*not writable.*")
            x, y = torch.from_numpy(self.features), torch.from_numpy(self.labels)
        if torch.device(device).type == "cuda":
            return x.pin_memory().to(device, non_blocking=True), y.to(device)
        return x, y


def concatenate(first: Split, second: Split, order: NDArray[np.int64] | None = None) -> Split:
    """Return the examples of both, first after first or in ``order``, in one copy."""
    n = len(first) + len(second)
    rows = np.arange(n) if order is None else np.argsort(order)  # where each of them goes

    def joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        both = np.empty((n, *one.shape[1:]), np.result_type(one, other))
        both[rows[: len(first)]], both[rows[len(first) :]] = one, other
        return both

    return Split(
        features=joined(first.features, second.features),
        labels=joined(first.labels, second.labels),
        indices=joined(first.indices, second.indices),
        top=first.top,
        n_classes=first.n_classes,
    )


@dataclass(frozen=True, kw_only=True)
class Splits:
    """One deal: disjoint splits of one data set (SCIENCE of each in the README).

    ``members`` train the target; ``nonmembers`` are never trained on; ``pool`` is the attacker's;
    ``reference`` is public; ``validation`` judges a sweep; ``test`` is kept for the end. Only a
    published test set may serve as nonmembers and validation at once, and :attr:`kind` says so.
    """

    members: Split
    nonmembers: Split
    pool: Split
    reference: Split
    validation: Split
    test: Split
    is_published: bool = False

    @property
    def kind(self) -> str:
        """``dealt``, ``published``, or ``published, validation as nonmembers``."""
        if not self.is_published:
            return "dealt"
        twice = np.array_equal(self.nonmembers.indices, self.validation.indices)
        return "published, validation as nonmembers" if twice else "published"

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each split."""
        return {name: len(getattr(self, name)) for name in SPLITS}

    @property
    def hash(self) -> str:
        """Name the deal by its indices: 16 hex digits of their SHA-256."""
        digest = hashlib.sha256()
        for name in SPLITS:
            digest.update(name.encode() + getattr(self, name).indices.tobytes())
        return digest.hexdigest()[:16]
