"""The highest posterior (Salem et al. 2019, adversary 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from raysweep.training import signals

if TYPE_CHECKING:
    from raysweep.attacks.contract import Access, Knowledge, Scores
    from raysweep.data import Split
    from raysweep.training.target import TrainedTarget


@dataclass(frozen=True, kw_only=True)
class MaxPosterior:
    """Black-box, no training: a model is surer of what it was trained on."""

    access: ClassVar[Access] = "black-box"
    knows_training_loss: ClassVar[bool] = False
    needs_shadows: ClassVar[bool] = False
    needs_known: ClassVar[bool] = False

    def score(
        self, target: TrainedTarget, examples: Split, knowledge: Knowledge, *, seed: int
    ) -> Scores:
        """Return the log-odds of the highest posterior: its order, without its rounding."""
        from raysweep.attacks.contract import Scores

        return Scores(values=signals.confidence(target.logits(examples)))
