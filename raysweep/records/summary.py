"""How a sweep ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from raysweep.records.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The outcome of a sweep. ``ended`` is "done", "interrupted" or "out of time"."""

    out: str
    ended: str
    ok: int
    pruned: int
    failed: int
    missing: int
    standing: Standing = field(repr=False, compare=False)

    @property
    def front(self) -> pd.DataFrame:
        """The trials that no other dominates, best accuracy first, see :meth:`Results.front`."""
        return self.standing.front

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds no trial at all."""
        return self.ok + self.pruned + self.failed == 0
