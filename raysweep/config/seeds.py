"""Independent seeds for named purposes."""

from __future__ import annotations

import hashlib

import numpy as np


def sub_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) for one named purpose, independent of every other name's.

    >>> sub_seed(0, "noise") == sub_seed(0, "noise"), sub_seed(0, "noise") == sub_seed(0, "splits")
    (True, False)
    """
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)
