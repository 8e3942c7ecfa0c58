"""The modified prediction entropy (Song & Mittal 2021)."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.training import signals


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Black-box with the label: members have confident and correct predictions."""

    needs: ClassVar[tuple[Need, ...]] = ()

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return minus the modified entropy."""
        values = -signals.modified_entropy(target.logits(examples), examples.labels)
        return Scores(values=values)
