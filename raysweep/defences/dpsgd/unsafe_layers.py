"""Refuse models whose layers break DP-SGD's guarantee, such as BatchNorm."""

from __future__ import annotations

import torch
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from raysweep.errors import PrivacyError


def refuse_unsafe_layers(model: nn.Module) -> None:
    """Raise :class:`PrivacyError` if a layer breaks the guarantee of DP-SGD, and name the layer."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise PrivacyError(
                f"DP-SGD: layer {name!r} is {type(module).__name__}, "
                "which mixes the examples of a batch",
                remedy=f"use nn.GroupNorm(num_groups, {module.num_features}) in its place",
            )
    errors = ModuleValidator.validate(model, strict=False)
    if errors:
        raise PrivacyError(f"DP-SGD: Opacus refuses the model: {errors[0]}")


def refuse_mixing(model: nn.Module, example: Tensor) -> None:
    """Raise :class:`PrivacyError` when an example's logits depend on the others of its batch."""
    batch = torch.cat([example, example.flip(-1), torch.zeros_like(example)])
    was_training = model.training

    for training in (False, True):
        model.train(training)
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()  # its randomness would make the logits differ

        with torch.no_grad():
            alone, in_batch = model(example), model(batch)[:1]
        if not torch.allclose(alone, in_batch, rtol=1e-3, atol=1e-4):
            raise PrivacyError(
                "DP-SGD: an example's logits depend on the other examples of its batch",
                remedy="the model must treat every example by itself",
            )

    model.train(was_training)
