"""The rule of each kind of layer, for one model and for several at once.

The rules of packed layers hold the inputs and gradients of K models, (K, n, ...).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysweep.defences.dpsgd.layer_rules import (
    ConvolutionRule,
    GroupNormRule,
    LinearRule,
    Rule,
    Shape,
    convolution_backward,
    row_squares,
)
from raysweep.training.packed_layers import PackedConv2d, PackedGroupNorm, PackedLinear


class PackedLinearRule:
    """The rule for ``PackedLinear``: K models together, (K, n, features)."""

    def __init__(self, layer: PackedLinear, a: Tensor, g: Tensor) -> None:
        self._layer, self._a, self._g = layer, a, g

    @staticmethod
    def fits(layer: PackedLinear, x: Tensor) -> bool:
        """Return whether the rule applies to this input."""
        return x.dim() == 3

    @staticmethod
    def bytes_per_example(layer: PackedLinear, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes of one example of one model: its output's weighted gradient."""
        return 4 * math.prod(out_shape)

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (K, n)."""
        bias = 0.0 if self._layer.bias is None else 1.0
        return row_squares(self._g) * (row_squares(self._a) + bias)

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield weight and bias with their sums weighted by ``factors`` (K, n)."""
        weighted = self._g * factors[..., None]
        yield self._layer.weight, weighted.mT @ self._a
        if self._layer.bias is not None:
            yield self._layer.bias, weighted.sum(1)


class PackedConvolutionRule:
    """The rule for ``PackedConv2d``: that of one model's convolution, on all K * n examples."""

    def __init__(self, layer: PackedConv2d, a: Tensor, g: Tensor) -> None:
        self._layer, self._a, self._g = layer, a, g
        self._of_all = ConvolutionRule(layer.one, a.flatten(0, 1), g.flatten(0, 1))

    @staticmethod
    def fits(layer: PackedConv2d, x: Tensor) -> bool:
        """Return whether the rule applies to this input."""
        return x.dim() == 5

    @staticmethod
    def bytes_per_example(layer: PackedConv2d, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes of one example of one model."""
        return ConvolutionRule.bytes_per_example(layer.one, in_shape[1:], out_shape[1:])

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (K, n)."""
        return self._of_all.squares().view(self._g.shape[:2])

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield weight and bias with their sums weighted by ``factors`` (K, n)."""
        layer, weighted = self._layer, self._g * factors[:, :, None, None, None]
        if (gradients := self._of_all.gradients) is not None:
            by_model = torch.cat(gradients).unflatten(0, factors.shape)
            weight = (factors[:, None] @ by_model).view(layer.weight.shape)
        else:
            images, outputs = (x.transpose(0, 1).flatten(1, 2) for x in (self._a, weighted))
            kernel, groups = layer.weight.flatten(0, 1), len(factors) * layer.one.groups
            weight, _ = convolution_backward(layer.one, outputs, images, kernel, groups=groups)
            weight = weight.view(layer.weight.shape)
        yield layer.weight, weight
        if layer.bias is not None:
            yield layer.bias, weighted.sum((1, 3, 4))


class PackedGroupNormRule:
    """The rule for ``PackedGroupNorm``: K models together, (K, n, channels, ...)."""

    def __init__(self, layer: PackedGroupNorm, a: Tensor, g: Tensor) -> None:
        self._layer = layer
        normalised = F.group_norm(a.flatten(0, 1), layer.num_groups, eps=layer.eps).view(a.shape)
        self._weight = (normalised * g).flatten(3).sum(3)
        self._bias = g.flatten(3).sum(3)

    @staticmethod
    def fits(layer: PackedGroupNorm, x: Tensor) -> bool:
        """Return whether the rule applies to this input."""
        return x.dim() > 3

    @staticmethod
    def bytes_per_example(layer: PackedGroupNorm, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes of one example of one model: its normalised input."""
        return 8 * math.prod(in_shape)

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (K, n)."""
        return row_squares(self._weight) + row_squares(self._bias)

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield weight and bias with their sums weighted by ``factors`` (K, n)."""
        yield self._layer.weight, (factors[:, None] @ self._weight).squeeze(1)
        yield self._layer.bias, (factors[:, None] @ self._bias).squeeze(1)


RULES: dict[type[nn.Module], Any] = {
    nn.Linear: LinearRule,
    nn.Conv2d: ConvolutionRule,
    nn.GroupNorm: GroupNormRule,
    PackedLinear: PackedLinearRule,
    PackedConv2d: PackedConvolutionRule,
    PackedGroupNorm: PackedGroupNormRule,
}


def rule_of(layer: nn.Module, x: Tensor) -> type[Rule] | None:
    """Return the rule for a layer with the input ``x``, or None if there is none."""
    if not all(p.requires_grad for p in layer.parameters(False)):
        return None
    kind = RULES.get(type(layer))
    return kind if kind is not None and kind.fits(layer, x) else None
