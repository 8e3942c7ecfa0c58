"""Label smoothing (Szegedy et al. 2016)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from torch import Tensor

    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing:
    """``label_smoothing``: the weight alpha of the uniform distribution; 0 is plain training.

    Targets, one-hot labels or a teacher's posteriors, become (1 - alpha) target + alpha / classes.
    """

    label_smoothing: Annotated[
        float, Ge(0), Lt(1), Field(description="share of each label spread evenly over the classes")
    ] = 0.0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.label_smoothing == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with smoothed targets, using that the loss is linear in the targets."""
        before, alpha = recipe.loss, self.label_smoothing

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            import torch

            uniform = torch.full_like(logits, 1 / logits.shape[1])
            return (1 - alpha) * before(logits, targets) + alpha * before(logits, uniform)

        return replace(recipe, loss=loss)
