"""A classifier trained on known members (Kaya et al. 2020, after Salem et al. 2019)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Gt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Black-box with some known members and nonmembers (attacks.known_share).

    A classifier is trained to tell them apart by the target's ``top`` highest posteriors, sorted:
    ``mlp`` (64 units) or ``logistic``. With ``top: null`` it takes all posteriors, which is worse
    when few members are known.
    """

    needs: ClassVar[tuple[Need, ...]] = ("known",)

    classifier: Annotated[
        Literal["mlp", "logistic"], Field(description="64 hidden units, or logistic regression")
    ] = "mlp"
    top: Annotated[
        Annotated[int, Gt(0)] | None,
        Field(description="how many of the highest posteriors are its inputs; null: all"),
    ] = 3

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the log-odds of being a member; the classifier's own threshold is 0.

        Raises:
            DataError: ``knowledge`` has no known members.

        """
        from raysweep.attacks.membership.classifier import train_classifier

        known = knowledge.known
        if known is None:
            raise DataError(
                "attack 'supervised' needs known members and nonmembers, got none",
                remedy="give Knowledge(known=...)",
            )
        predict = train_classifier(
            [(target, known.members, known.nonmembers)],
            kind=self.classifier,
            top=self.top,
            seed=seed,
        )
        return Scores(values=predict(target, examples), threshold=0.0)
