"""Name the splits in which a trained model's outputs are not finite numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from raysweep.data import SPLITS, Splits
from raysweep.errors import NotFinite
from raysweep.training.target import FINITE_REMEDY


@contextlib.contextmanager
def naming_splits(splits: Splits) -> Iterator[None]:
    """Let a :class:`NotFinite` of the block say to which of ``splits`` its examples belong."""
    try:
        yield
    except NotFinite as error:
        counts = {
            name: int(np.isin(getattr(splits, name).indices, error.examples).sum())
            for name in SPLITS
        }
        found = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        if not found:
            raise
        raise NotFinite(
            f"{error.values} are not finite numbers for {found}",
            examples=error.examples,
            values=error.values,
            remedy=FINITE_REMEDY,
        ) from error
