"""The highest posterior (Salem et al. 2019, adversary 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from raysweep import signals

if TYPE_CHECKING:
    from raysweep.attacks import Access, Knowledge, Scores
    from raysweep.data import Split
    from raysweep.train import TrainedTarget


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
        from raysweep.attacks import Scores

        return Scores(values=signals.confidence(target.logits(examples)))
