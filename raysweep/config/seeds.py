"""Independent seeds for named purposes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from raysweep.errors import SpaceError

LARGEST_SEED = 2**63 - 1  # that the records' column holds


def sub_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) for one named purpose, independent of every other name's.

    >>> sub_seed(0, "noise") == sub_seed(0, "noise"), sub_seed(0, "noise") == sub_seed(0, "splits")
    (True, False)
    """
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)


def check_seed(value: Any, name: str) -> int:
    """Return a whole number from 0 to LARGEST_SEED; raise :class:`SpaceError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SEED:
        rule = f"`{name}` must be a whole number from 0 to 2**63 - 1"
        raise SpaceError(rule, got=value, place=[name])
    return value
