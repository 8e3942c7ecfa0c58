"""The loss threshold (Yeom et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.training import signals


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Black-box with the label: a loss below the mean training loss indicates a member."""

    needs: ClassVar[tuple[Need, ...]] = ("training-loss",)

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return minus the cross-entropy, with Yeom's threshold: minus the mean training loss."""
        values = -signals.cross_entropy(target.logits(examples), examples.labels)
        if knowledge.training_loss is None:
            return Scores(values=values)
        return Scores(values=values, threshold=-knowledge.training_loss[0])
