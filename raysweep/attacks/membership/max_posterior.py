"""The highest posterior (Salem et al. 2019, adversary 3)."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.training import signals


@dataclass(frozen=True, kw_only=True)
class MaxPosterior:
    """Black-box, no training: a model is more confident on its members."""

    needs: ClassVar[tuple[Need, ...]] = ()

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of the highest posterior: they tie less often than it does."""
        return Scores(values=signals.confidence(target.logits(examples)))
