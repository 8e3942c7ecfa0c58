"""A shadow model teaches what members look like (Salem et al. 2019, adversary 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt
from pydantic.dataclasses import dataclass

from raysweep import signals
from raysweep.config import sub_seed

if TYPE_CHECKING:
    from raysweep.attacks import Knowledge, Scores
    from raysweep.data import Split
    from raysweep.train import TrainedTarget


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Black-box with data of the same distribution.

    ``n_shadows`` shadows follow the target's whole recipe on the pool; a classifier learns members
    from nonmembers by their three highest posteriors: ``mlp`` (64 units) or ``logistic``.
    """

    knows_training_loss: ClassVar[bool] = False
    needs_shadows: ClassVar[bool] = True

    n_shadows: Annotated[int, Gt(0)] = 1
    classifier: Literal["mlp", "logistic"] = "mlp"

    def score(
        self, target: TrainedTarget, examples: Split, knowledge: Knowledge, *, seed: int
    ) -> Scores:
        """Return the log-odds of being a member; the classifier's own threshold is 0."""
        from raysweep.attacks import Scores
        from raysweep.classifier import fit

        features, truth = [], []
        for shadow in knowledge.shadows(self.n_shadows):
            for split, is_member in ((shadow.members, True), (shadow.nonmembers, False)):
                features.append(signals.sorted_log_odds(shadow.target.logits(split)))
                truth.append(np.full(len(split), is_member))
        known, truths = np.concatenate(features), np.concatenate(truth)
        hidden = 64 if self.classifier == "mlp" else 0
        predict = fit(known, truths, hidden=hidden, seed=sub_seed(seed, "classifier"))
        values = predict(signals.sorted_log_odds(target.logits(examples)))
        return Scores(values=values, threshold=0.0)
