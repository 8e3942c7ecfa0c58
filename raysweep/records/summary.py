"""How a sweep ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The outcome of a sweep. ``ended`` is "done", "interrupted" or "out of time"."""

    out: str
    ended: str
    ok: int
    pruned: int
    failed: int
    missing: int
    front: pd.DataFrame = field(repr=False, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds no trial at all."""
        return self.ok + self.pruned + self.failed == 0
