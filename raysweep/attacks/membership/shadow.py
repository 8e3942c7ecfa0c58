"""A classifier trained on the posteriors of shadow models (Salem et al. 2019, adversary 1)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Gt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Black-box with data of the target's distribution.

    ``n_shadows`` shadow models are trained by the target's whole recipe on the pool. A classifier
    is trained to tell their members from their nonmembers by the three highest posteriors:
    ``mlp`` (64 units) or ``logistic``.
    """

    needs: ClassVar[tuple[Need, ...]] = ("pool-shadows",)

    n_shadows: Annotated[int, Gt(0), Field(description="shadow models to train")] = 1
    classifier: Annotated[
        Literal["mlp", "logistic"], Field(description="64 hidden units, or logistic regression")
    ] = "mlp"

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of being a member; the classifier's own threshold is 0."""
        from raysweep.attacks.membership.classifier import train_on_shadows

        shadows = knowledge.shadows(self.n_shadows)
        predict = train_on_shadows(shadows, kind=self.classifier, seed=seed)
        return Scores(values=predict(target, examples), threshold=0.0)
