"""A defence of your own: the class that own_defence.yaml names.

    cd examples/own_defence
    raysweep validate own_defence.yaml
    raysweep sweep own_defence.yaml
    python -c "import own_defence as d, raysweep.testing as t; t.check_defence(d.ConfidencePenalty)"

The last command trains small networks and says which rule of the contract the class breaks, if any.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Lt
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from torch import Tensor

    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ConfidencePenalty:
    """The confidence penalty (Pereyra et al. 2017): the loss rewards the entropy of predictions.

    The first field is the strength, whose key in a space is the class; another field has the key
    ``own_defence:ConfidencePenalty.threshold``. The defaults must mean plain training.
    """

    weight: Annotated[float, Ge(0), Lt(inf)] = 0.0
    threshold: Annotated[float, Ge(0), Lt(inf)] = (
        0.0  # entropy from which nothing is penalised; 0: none
    )

    # None: members are reached only through the loss of each example, so DP-SGD's guarantee holds.
    # Otherwise state the reason why it does not, and raysweep refuses both together.
    breaks_privacy: ClassVar[str | None] = None

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.weight == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with a penalty in its loss. ``reference`` is public data."""
        before = recipe.loss

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            """Return one loss for each example, (n,)."""
            log_posteriors = logits.log_softmax(dim=1)
            entropy = -(log_posteriors.exp() * log_posteriors).sum(dim=1)
            missing = (self.threshold - entropy).relu() if self.threshold else -entropy
            return before(logits, targets) + self.weight * missing

        return replace(recipe, loss=loss)
