"""Spatial dropout after every convolution (Tompson et al. 2015)."""

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
class SpatialDropout:
    """``spatial_dropout``: the probability of zeroing a channel in training; 0 is plain."""

    spatial_dropout: Annotated[
        float, Ge(0), Lt(1), Field(description="probability of zeroing a whole channel in training")
    ] = 0.0

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.spatial_dropout == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with a model that is built with spatial dropout."""
        build = partial(recipe.build_model, spatial_dropout=self.spatial_dropout)
        return replace(recipe, build_model=build)
