"""Distillation from a teacher of the same architecture (Hinton et al. 2015)."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, Lt
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from torch import Tensor

    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """``distillation_temperature``: the teacher's temperature T >= 1; 0 is plain training.

    The teacher is the undefended target, trained on the members. The student is trained on
    softmax(teacher's logits / T) at its own temperature 1, without hard labels and without the
    factor T^2, as in Kaya et al. 2020.
    """

    breaks_privacy: ClassVar[str | None] = "its teacher is trained on the members without noise"

    distillation_temperature: Annotated[
        float, Ge(0), Lt(inf), Field(description="a teacher's posteriors at T >= 1 are the labels")
    ] = 0.0

    @field_validator("distillation_temperature")
    @classmethod
    def _off_or_at_least_one(cls, temperature: float) -> float:
        if 0 < temperature < 1:
            raise ValueError(
                f"`distillation_temperature` must be at least 1 (0 is off), got {temperature}"
            )
        return temperature

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.distillation_temperature == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with labels by a teacher, which is trained by ``recipe`` as given."""

        def relabel(members: Split, *, seed: int, device: Any) -> Tensor:
            import torch

            from raysweep.training.loop import train

            teacher = train(recipe, members, seed=seed, device=device)
            logits = torch.from_numpy(teacher.logits(members)).to(device)
            return torch.softmax(logits / self.distillation_temperature, dim=1)

        return replace(recipe, relabel=relabel)
