"""Distillation from a teacher of the same kind (Hinton et al. 2015)."""

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
    """``distillation_temperature``: T of the teacher's posteriors, from 1 on; 0 is off.

    The teacher is the undefended target, trained on the members. The student fits
    softmax(teacher's logits / T) at temperature 1, without a hard label and without a factor T^2
    (as Kaya et al. 2020 do).
    """

    breaks_privacy: ClassVar[str | None] = "its teacher is trained on the members without noise"

    distillation_temperature: Annotated[
        float, Ge(0), Lt(inf), Field(description="a teacher's posteriors at T >= 1 are the labels")
    ] = 0.0

    @field_validator("distillation_temperature")
    @classmethod
    def _off_or_at_least_one(cls, temperature: float) -> float:
        if 0 < temperature < 1:
            law = "`distillation_temperature` must be at least 1 (0 is off)"
            raise ValueError(f"{law}, got {temperature}")
        return temperature

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.distillation_temperature == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with a teacher in place of the labels; ``recipe`` makes the teacher."""

        def relabel(members: Split, *, seed: int, device: Any) -> Tensor:
            import torch

            from raysweep.training.loop import train

            teacher = train(recipe, members, seed=seed, device=device)
            logits = torch.from_numpy(teacher.logits(members)).to(device)
            return torch.softmax(logits / self.distillation_temperature, dim=1)

        return replace(recipe, relabel=relabel)
