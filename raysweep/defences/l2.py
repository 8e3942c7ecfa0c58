"""L2 regularisation. It uses no example, so under DP-SGD it is outside clipping and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge
from pydantic import Field
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from torch import Tensor, nn

    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class L2:
    """``l2``: the weight lambda of the squared norm; 0 is plain training.

    ``l2_scope: output`` adds lambda ||W||^2 of the last linear layer's weight W (gradient
    2 lambda W). ``all`` is weight decay: it adds lambda / 2 times the squared norm of every
    parameter (gradient lambda W).
    """

    l2: Annotated[float, Ge(0), Field(description="weight lambda of the squared norm")] = 0.0
    l2_scope: Annotated[
        Literal["output", "all"], Field(description="output layer's weight, or all: weight decay")
    ] = "output"

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.l2 == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with this penalty added to its own."""
        before = recipe.penalty

        def penalty(model: nn.Module) -> Tensor:
            if before is None:
                return self._penalty(model)
            return self._penalty(model) + before(model)

        return replace(recipe, penalty=penalty)

    def _penalty(self, model: nn.Module) -> Tensor:
        import torch

        if self.l2_scope == "output":
            return self.l2 * output_kernel(model).square().sum()
        squares = [parameter.square().sum() for parameter in model.parameters()]
        return self.l2 / 2 * torch.stack(squares).sum()


def output_kernel(model: nn.Module) -> Tensor:
    """Return the weight of the model's last ``nn.Linear``; raise ModelError when it has none."""
    from torch import nn

    from raysweep.errors import ModelError

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ModelError(
            "l2_scope `output` needs an nn.Linear, and the model has none",
            remedy="use `l2_scope: all`",
        )
    return linear[-1].weight
