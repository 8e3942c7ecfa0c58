"""Dropout after every hidden block (Srivastava et al. 2014)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """``dropout``: the probability of zeroing a hidden unit in training; 0 is plain."""

    dropout: Annotated[
        float, Ge(0), Lt(1), Field(description="probability of zeroing a hidden unit in training")
    ] = 0.0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.dropout == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with a model that is built with dropout."""
        return replace(recipe, build_model=partial(recipe.build_model, dropout=self.dropout))
