"""L2 regularisation. It uses no example, so under DP-SGD it is outside clipping and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from raysweep.data import Split
    from raysweep.training.recipe import Recipe

OTHER_SCOPE = "use `l2_scope: all`"


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
        before, build = recipe.penalty, recipe.build_model

        def build_model(shape: tuple[int, ...], n_classes: int, **options: Any) -> nn.Module:
            model = build(shape, n_classes, **options)
            if self.l2_scope == "output":
                check_output(model, shape)
            return model

        def penalty(model: nn.Module) -> Tensor:
            if before is None:
                return self._penalty(model)
            return self._penalty(model) + before(model)

        return replace(recipe, penalty=penalty, build_model=build_model)

    def _penalty(self, model: nn.Module) -> Tensor:
        import torch

        if self.l2_scope == "output":
            return self.l2 * output_kernel(model).square().sum()
        squares = [parameter.square().sum() for parameter in model.parameters()]
        return self.l2 / 2 * torch.stack(squares).sum()


def output_kernel(model: nn.Module) -> Tensor:
    """Return the weight of the model's last ``nn.Linear``; raise ModelError when it has none."""
    return output_layer(model).weight


def output_layer(model: nn.Module) -> nn.Linear:
    """Return the model's last ``nn.Linear``; raise ModelError when it has none."""
    from torch import nn

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ModelError(
            "l2_scope `output` needs an nn.Linear, and the model has none", remedy=OTHER_SCOPE
        )
    return linear[-1]


def check_output(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise :class:`ModelError` unless the output of the last ``nn.Linear`` is the logits.

    ``shape`` is that of an example, on which the model is run.
    """
    import torch

    layer = output_layer(model)
    if not isinstance(dict(layer.named_parameters()).get("weight"), torch.nn.Parameter):
        raise ModelError(
            "l2_scope `output` needs a weight that is a parameter; that of the last nn.Linear is "
            "computed, as in pruning or weight normalisation",
            remedy=OTHER_SCOPE,
        )

    outputs: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output))
    was_training = model.training
    with torch.no_grad():
        logits = model.eval()(torch.full((2, *shape), 0.5))
    model.train(was_training)
    hook.remove()
    if len(outputs) != 1 or not torch.equal(outputs[0].flatten(), logits.flatten()):
        raise ModelError(
            "l2_scope `output` needs a model whose logits are the output of its last nn.Linear, "
            "called once",
            remedy=f"define that layer after the others, or {OTHER_SCOPE}",
        )
