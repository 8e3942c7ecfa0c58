"""The loss threshold (Yeom et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from raysweep.training import signals

if TYPE_CHECKING:
    from raysweep.attacks.contract import Access, Knowledge, Scores
    from raysweep.data import Split
    from raysweep.training.target import TrainedTarget


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Black-box with the label: a loss below the mean training loss says member."""

    access: ClassVar[Access] = "black-box"
    knows_training_loss: ClassVar[bool] = True
    needs_shadows: ClassVar[bool] = False
    needs_known: ClassVar[bool] = False

    def score(
        self, target: TrainedTarget, examples: Split, knowledge: Knowledge, *, seed: int
    ) -> Scores:
        """Return minus the cross-entropy, with Yeom's threshold: minus the mean training loss."""
        from raysweep.attacks.contract import Scores

        values = -signals.cross_entropy(target.logits(examples), examples.labels)
        granted = knowledge.training_loss
        return Scores(values=values, threshold=None if granted is None else -granted[0])
