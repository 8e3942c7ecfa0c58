"""The modified prediction entropy (Song & Mittal 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from raysweep.training import signals

if TYPE_CHECKING:
    from raysweep.attacks.contract import Access, Knowledge, Scores
    from raysweep.data import Split
    from raysweep.training.target import TrainedTarget


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Black-box with the label: members are predicted surely and rightly."""

    access: ClassVar[Access] = "black-box"
    knows_training_loss: ClassVar[bool] = False
    needs_shadows: ClassVar[bool] = False
    needs_known: ClassVar[bool] = False

    def score(
        self, target: TrainedTarget, examples: Split, knowledge: Knowledge, *, seed: int
    ) -> Scores:
        """Return minus the modified entropy."""
        from raysweep.attacks.contract import Scores

        values = -signals.modified_entropy(target.logits(examples), examples.labels)
        return Scores(values=values)
