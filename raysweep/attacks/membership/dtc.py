"""Distance to confident: how far an input is from a low-loss one (Kaya et al. 2020)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Distances, Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.training import signals


@dataclass(frozen=True, kw_only=True)
class Dtc:
    """White-box: members are nearer than nonmembers to inputs with a confident prediction.

    Signed gradient steps (PGD) lower the example's loss until it is below the members' median.
    Each step has the size ``step`` in L-infinity, on inputs in [0, 1]. An example takes at least
    one step and at most ``steps``.
    """

    needs: ClassVar[tuple[Need, ...]] = ("white-box", "training-loss")

    step: Annotated[
        float, Gt(0), Lt(1), Field(description="size of a step on inputs in [0, 1], in L-infinity")
    ] = 0.001
    steps: Annotated[int, Gt(0), Field(description="most steps for each example")] = 100

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return minus the distance, between -step * steps and -step; the loss breaks ties.

        Raises:
            DataError: ``knowledge`` does not grant the median training loss.

        """
        from raysweep.attacks.membership.distances import RESOLUTION, distances

        if knowledge.training_loss is None:
            raise DataError(
                "attack 'dtc' needs the members' median loss, got none",
                remedy="give Knowledge(training_loss=...)",
            )

        threshold = knowledge.training_loss[1]
        moved, reached = distances(
            target.model, examples, threshold=threshold, step=self.step, steps=self.steps
        )
        farthest = self.step * self.steps
        values = np.where(reached, np.clip(moved, self.step, farthest), farthest)

        logits = target.logits(examples)
        unsure = signals.cross_entropy(logits, examples.labels) >= threshold

        # Distances are multiples of RESOLUTION, so a smaller term only breaks ties.
        odds = np.clip(signals.label_log_odds(logits, examples.labels), -500.0, 500.0) / 1000.0
        return Scores(
            values=-values + RESOLUTION * 0.9 * odds,
            distances=Distances(values=values, reached=reached, unsure=unsure),
        )
