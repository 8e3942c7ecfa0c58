"""An inference model trained against the finished target (Nasr et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.training import signals

if TYPE_CHECKING:
    from raysweep.training.inference_model import Columns

LEAST = np.log(
    1e-7
)  # least log-posterior that the model sees, which learns worse from a wide range


@dataclass(frozen=True, kw_only=True)
class InferenceModel:
    """Black-box with the label and some known members (attacks.known_share).

    The model h of adversarial regularisation is trained from scratch on log-posteriors and labels,
    for at most ``steps`` steps. Its members are the known ones; its ``nonmembers`` are the
    ``reference`` set, as published, or the ``known`` nonmembers.
    """

    needs: ClassVar[tuple[Need, ...]] = ("known",)

    nonmembers: Annotated[
        Literal["reference", "known"],
        Field(description="nonmembers to learn from: the reference split, or the known nonmembers"),
    ] = "reference"
    steps: Annotated[int, Gt(0), Field(description="most steps of training")] = 1500

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of being a member; the model's own threshold is 0.

        Raises:
            DataError: there are no known members, or no such nonmembers.

        """
        from raysweep.training.inference_model import fit

        known = knowledge.known
        others = None if known is None else known.nonmembers
        if self.nonmembers == "reference":
            others = knowledge.reference
        if known is None or others is None or len(others) < 2:
            raise DataError(
                "attack 'inference_model' needs known members and "
                f"the {self.nonmembers} nonmembers, and there are none",
                remedy="enlarge dataset.reference, or take `nonmembers: known`",
            )

        predict = fit(
            _columns(target, known.members),
            _columns(target, others),
            n_classes=target.n_classes,
            steps=self.steps,
            seed=seed,
        )
        return Scores(values=predict(_columns(target, examples)), threshold=0.0)


def _columns(target: Target, examples: Split) -> Columns:
    """Return the log-posteriors, at least LEAST, and labels of examples, on the target's device."""
    import torch

    log_posteriors = np.maximum(signals.log_posteriors(target.logits(examples)), LEAST)
    log_posteriors = log_posteriors.astype(np.float32)
    labels = torch.from_numpy(examples.labels)
    return torch.from_numpy(log_posteriors).to(target.device), labels.to(target.device)
