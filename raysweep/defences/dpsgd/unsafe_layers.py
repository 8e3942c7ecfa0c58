"""Refuse models whose layers break DP-SGD's guarantee, such as BatchNorm."""

from __future__ import annotations

from torch import nn

from raysweep.errors import PrivacyError
from raysweep.models.structure import is_known


def refuse_unsafe_layers(model: nn.Module) -> None:
    """Raise :class:`PrivacyError` if a layer breaks the guarantee of DP-SGD, and name the layer.

    Opacus has no rule about known layers, and takes 2 s to import.
    """
    if is_known(model):
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise PrivacyError(
                f"DP-SGD: layer {name!r} is {type(module).__name__}, "
                "which mixes the examples of a batch",
                remedy=f"use nn.GroupNorm(num_groups, {module.num_features}) in its place",
            )

    from opacus.validators import ModuleValidator

    errors = ModuleValidator.validate(model, strict=False)
    if errors:
        raise PrivacyError(f"DP-SGD: Opacus refuses the model: {errors[0]}")
