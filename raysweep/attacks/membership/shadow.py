"""A shadow model teaches what members look like (Salem et al. 2019, adversary 1)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Gt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.config import sub_seed
from raysweep.data import Split


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Black-box with data of the same distribution.

    ``n_shadows`` shadows follow the target's whole recipe on the pool; a classifier learns members
    from nonmembers by their three highest posteriors: ``mlp`` (64 units) or ``logistic``.
    """

    needs: ClassVar[tuple[Need, ...]] = ("pool-shadows",)

    n_shadows: Annotated[int, Gt(0), Field(description="shadow models to train")] = 1
    classifier: Annotated[
        Literal["mlp", "logistic"], Field(description="64 hidden units, or logistic regression")
    ] = "mlp"

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of being a member; the classifier's own threshold is 0."""
        from raysweep.attacks.membership.classifier import learn

        lessons = [
            (shadow.target, shadow.members, shadow.nonmembers)
            for shadow in knowledge.shadows(self.n_shadows)
        ]
        own = sub_seed(seed, "classifier")
        predict = learn(lessons, kind=self.classifier, top=3, seed=own)
        return Scores(values=predict(target, examples), threshold=0.0)
