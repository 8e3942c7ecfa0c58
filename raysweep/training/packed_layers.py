"""The layers of K models of one architecture as one layer, on inputs (K, n, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysweep.models.fast_layers import FastTanh, fast_tanh


def _stacked(parameters: Sequence[Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.stack([parameter.detach() for parameter in parameters]))


class PackedLinear(nn.Linear):
    """The linear layers of K models as one layer: maps (K, n, in) to (K, n, out)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        first = layers[0]
        super().__init__(first.in_features, first.out_features, first.bias is not None, "meta")
        self.weight = _stacked([layer.weight for layer in layers])
        if first.bias is not None:
            self.bias = _stacked([layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if self.bias is None:
            return x @ self.weight.mT
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class PackedConv2d(nn.Module):
    """The convolutions of K models as the groups of one: maps (K, n, in, ...) to (K, n, out, ...).

    ``one`` is the layer of the first model, whose settings all have.
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self._one = [layers[0]]  # in a list, so that its parameters are not those of this layer
        self.weight = _stacked([layer.weight for layer in layers])
        self.bias: Tensor | None = None
        if self.one.bias is not None:
            self.bias = _stacked([layer.bias for layer in layers if layer.bias is not None])

    @property
    def one(self) -> nn.Conv2d:
        """The convolution of the first model."""
        return self._one[0]

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        k, one = len(self.weight), self.one
        bias = None if self.bias is None else self.bias.flatten()
        images, weight = x.transpose(0, 1).flatten(1, 2), self.weight.flatten(0, 1)
        geometry = (one.stride, one.padding, one.dilation, k * one.groups)
        y: Tensor = F.conv2d(images, weight, bias, *geometry)  # type: ignore[arg-type]
        _, channels, *size = y.shape
        return y.view(-1, k, channels // k, *size).transpose(0, 1)


class PackedGroupNorm(nn.GroupNorm):
    """The group normalisations of K models as one layer: maps (K, n, channels, ...) to the same."""

    def __init__(self, layers: Sequence[nn.GroupNorm]) -> None:
        first = layers[0]
        super().__init__(first.num_groups, first.num_channels, first.eps, device="meta")
        self.weight = _stacked([layer.weight for layer in layers])
        self.bias = _stacked([layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        normalised = F.group_norm(x.flatten(0, 1), self.num_groups, eps=self.eps).view(x.shape)
        weight, bias = (
            parameter.view(len(parameter), 1, -1, *[1] * (x.dim() - 3))
            for parameter in (self.weight, self.bias)
        )
        return torch.addcmul(bias, normalised, weight)


class PackedTanh(nn.Module):
    """The tanh layers of K models as one: ``FastTanh`` with a gradient that takes one pass.

    The outputs of many models do not fit in a cache, so that each pass takes long.
    """

    def __init__(self, layers: Sequence[FastTanh]) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = _Tanh.apply(x)
        return y


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = fast_tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        x_gradient: Tensor = torch.ops.aten.tanh_backward(gradient, y)
        return x_gradient


PackedLayer: TypeAlias = PackedLinear | PackedConv2d | PackedGroupNorm | PackedTanh

PACKED: dict[type[nn.Module], type[PackedLayer]] = {
    nn.Linear: PackedLinear,
    nn.Conv2d: PackedConv2d,
    nn.GroupNorm: PackedGroupNorm,
    FastTanh: PackedTanh,
}
"""Kind of a layer -> the layer of several models."""

BY_EXAMPLE = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""Layers without parameters that take images (n, ...), here those of all models at once."""


def may_be_packed(layer: nn.Module) -> bool:
    """Return whether a layer with parameters is one that PACKED can hold."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear or (type(layer) is nn.GroupNorm and layer.affine)
