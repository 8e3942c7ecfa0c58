"""Stopping after an epoch that was chosen beforehand (Caruana et al. 2001)."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from raysweep.errors import SpaceError

if TYPE_CHECKING:
    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """``early_stopping``: the epoch after which training stops. inf, or the last epoch, is plain.

    Under DP-SGD the noise multiplier is solved for the steps that are taken.
    """

    early_stopping: Annotated[
        float, Ge(1), Field(description="the epoch after which training stops")
    ] = inf

    @field_validator("early_stopping")
    @classmethod
    def _whole(cls, epoch: float) -> float:
        if epoch < inf and epoch != int(epoch):
            raise ValueError(f"`early_stopping` must be a whole number of epochs, got {epoch}")
        return epoch

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.early_stopping == inf

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with fewer epochs."""
        training = replace(recipe.training, epochs=int(self.early_stopping))
        return replace(recipe, training=training)

    def limit(self, epochs: int) -> EarlyStopping:
        """Return this defence, or the neutral one if it stops after the last of ``epochs``.

        Raises:
            SpaceError: it stops after more than ``epochs`` epochs.

        """
        if epochs < self.early_stopping < inf:
            raise SpaceError(
                f"`early_stopping` must be at most training.epochs = {epochs}",
                got=int(self.early_stopping),
                place=["early_stopping"],
            )
        return EarlyStopping() if self.early_stopping == epochs else self
