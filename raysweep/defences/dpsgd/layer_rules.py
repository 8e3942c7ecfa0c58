"""Norms and weighted sums of per-example gradients, layer by layer.

A rule holds the input of a layer (``a``, for activations) and the gradient of its output (``g``)
for n examples, and stores little else. It computes in the precision of ``a`` and ``g``.

Linear layers: an example's norm is the product of two norms (Goodfellow 2015). For a
convolution the fastest of three ways is used. Per-example gradients are computed and stored by one
grouped convolution over the batch (Rochette et al. 2019) or, with few inputs to an output pixel, by
a product with the patches. For small images they are not stored, and their norms follow from the
inner products of pixels (ghost norms, Bu et al. 2022).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPED = 32  # examples in one grouped convolution

FEW_INPUTS = 32  # most inputs to an output pixel for which patches are faster than groups

GRAM_COST = 4  # time of a multiplication in a Gram matrix, by that of one in a convolution

Shape = tuple[int, ...]


class Rule(Protocol):
    """The gradients of one layer's parameters for n examples."""

    def __init__(self, layer: Any, a: Tensor, g: Tensor) -> None: ...

    @staticmethod
    def bytes_per_example(layer: Any, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes that the rule holds for one example.

        Shapes are those of the layer's input and output for one example, (channels, height, ...).
        """

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (n,)."""

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each parameter with the sum of its gradients weighted by ``factors`` (n,)."""


def row_squares(x: Tensor) -> Tensor:
    """Return the squared norm of every row of (..., k), in one pass."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return norms.square()


class LinearRule:
    """The rule for ``nn.Linear`` on (n, features)."""

    def __init__(self, layer: nn.Linear, a: Tensor, g: Tensor) -> None:
        self._layer, self._a, self._g = layer, a, g

    @staticmethod
    def fits(layer: nn.Linear, x: Tensor) -> bool:
        """Return whether the rule applies to this input."""
        return x.dim() == 2

    @staticmethod
    def bytes_per_example(layer: nn.Linear, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes of one example: its output's weighted gradient."""
        return 4 * math.prod(out_shape)

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (n,)."""
        bias = 0.0 if self._layer.bias is None else 1.0
        return row_squares(self._g) * (row_squares(self._a) + bias)

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield weight and bias with their weighted sums."""
        yield self._layer.weight, (self._g * factors[:, None]).T @ self._a
        if self._layer.bias is not None:
            yield self._layer.bias, factors @ self._g


class GroupNormRule:
    """The rule for ``nn.GroupNorm`` with a weight and a bias for every channel."""

    def __init__(self, layer: nn.GroupNorm, a: Tensor, g: Tensor) -> None:
        self._layer = layer
        normalised = F.group_norm(a, layer.num_groups, eps=layer.eps)
        self._weight = (normalised * g).flatten(2).sum(2)
        self._bias = g.flatten(2).sum(2)

    @staticmethod
    def fits(layer: nn.GroupNorm, x: Tensor) -> bool:
        """Return whether the rule applies to this input."""
        return x.dim() > 2

    @staticmethod
    def bytes_per_example(layer: nn.GroupNorm, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes of one example: its normalised input."""
        return 8 * math.prod(in_shape)

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (n,)."""
        return row_squares(self._weight) + row_squares(self._bias)

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield weight and bias with their weighted sums."""
        yield self._layer.weight, factors @ self._weight
        yield self._layer.bias, factors @ self._bias


class ConvolutionRule:
    """The rule for ``nn.Conv2d`` with zero padding; shapes decide the fastest of three ways."""

    def __init__(self, layer: nn.Conv2d, a: Tensor, g: Tensor) -> None:
        self._layer, self._a, self._g = layer, a, g
        way = self._way(layer, tuple(a.shape[1:]), tuple(g.shape[1:]))
        self.gradients = None if way == "gram" else _COMPUTE[way](layer, a, g)
        self._biases = None if way == "gram" or layer.bias is None else g.sum((2, 3))

    @staticmethod
    def fits(layer: nn.Conv2d, x: Tensor) -> bool:
        """Return whether the rule applies to this layer and input."""
        zeros = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return zeros and x.dim() == 4

    @staticmethod
    def _way(layer: nn.Conv2d, in_shape: Shape, out_shape: Shape) -> str:
        """Return the fastest way for these shapes: ``groups``, ``patches`` or ``gram``."""
        if layer.groups > 1:
            return "groups"
        pixels_in, pixels, size = (
            math.prod(x) for x in (in_shape[1:], out_shape[1:], layer.kernel_size)
        )
        gram = pixels_in**2 * in_shape[0] + pixels**2 * (out_shape[0] + size)
        if GRAM_COST * gram < pixels * layer.weight.numel():
            return "gram"
        return "patches" if in_shape[0] * size <= FEW_INPUTS else "groups"

    @classmethod
    def bytes_per_example(cls, layer: nn.Conv2d, in_shape: Shape, out_shape: Shape) -> int:
        """Return the bytes of one example: its kernel's gradient, patches or Gram matrices."""
        way, pixels = cls._way(layer, in_shape, out_shape), math.prod(out_shape[1:])
        if way == "gram":
            return 4 * (math.prod(in_shape[1:]) ** 2 + 3 * pixels**2 + math.prod(out_shape))
        patches = pixels * in_shape[0] * math.prod(layer.kernel_size) if way == "patches" else 0
        return 4 * (layer.weight.numel() + patches)

    def squares(self) -> Tensor:
        """Return each example's squared gradient norm, (n,)."""
        if self.gradients is None:
            return _gram_squares(self._layer, self._a, self._g)
        squares = torch.cat([row_squares(x) for x in self.gradients])
        return squares if self._biases is None else squares + row_squares(self._biases)

    def sums(self, factors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield weight and bias with their weighted sums."""
        layer = self._layer
        if self.gradients is not None:
            shares = factors.split([len(x) for x in self.gradients])
            weight = sum(share @ x for share, x in zip(shares, self.gradients, strict=True))
            yield layer.weight, weight.view(layer.weight.shape)
            if layer.bias is not None and self._biases is not None:
                yield layer.bias, factors @ self._biases
            return

        # Without per-example gradients, the sum is one backward pass of weighted gradients.
        scaled = self._g * factors[:, None, None, None]
        weight, bias = convolution_backward(
            layer, scaled, self._a, layer.weight, groups=layer.groups
        )
        yield layer.weight, weight
        if layer.bias is not None:
            yield layer.bias, bias


def convolution_backward(
    layer: nn.Conv2d, g: Tensor, a: Tensor, weight: Tensor, *, groups: int
) -> tuple[Tensor, Tensor]:
    """Return the gradients of a convolution's weight and bias."""
    geometry = (layer.stride, layer.padding, layer.dilation, False, [0, 0], groups)
    has_bias = layer.bias is not None and groups == layer.groups
    shape = None if layer.bias is None else list(layer.bias.shape)
    outputs = [False, True, has_bias]  # no gradient of the input
    _, weight_gradient, bias_gradient = torch.ops.aten.convolution_backward(
        g, a, weight, shape, *geometry, outputs
    )
    return weight_gradient, bias_gradient


def _gradients_by_groups(layer: nn.Conv2d, a: Tensor, g: Tensor) -> list[Tensor]:
    """Return the kernel gradients, (n, kernel size), in parts of GROUPED examples.

    The examples of a part are the groups of one grouped convolution. The last part is padded with
    zeros, so that calls have the same shape for every size of a Poisson batch: oneDNN keeps a plan
    of 20 MiB for each shape.
    """
    missing = -len(a) % GROUPED
    if missing:
        a, g = (F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing)) for x in (a, g))
    kernel = layer.weight
    weight = a.new_empty(GROUPED * kernel.shape[0], *kernel.shape[1:])

    parts = []
    for part_a, part_g in zip(a.split(GROUPED), g.split(GROUPED), strict=True):
        grouped_a, grouped_g = (
            x.reshape(1, GROUPED * x.shape[1], *x.shape[2:]) for x in (part_a, part_g)
        )
        gradients, _ = convolution_backward(
            layer, grouped_g, grouped_a, weight, groups=GROUPED * layer.groups
        )
        parts.append(gradients.view(GROUPED, -1))
    parts[-1] = parts[-1][: GROUPED - missing]
    return parts


def _gradients_by_patches(layer: nn.Conv2d, a: Tensor, g: Tensor) -> list[Tensor]:
    """Return the kernel gradients, (n, kernel size), in one part: a product with the patches."""
    options = {"dilation": layer.dilation, "padding": layer.padding, "stride": layer.stride}
    patches = F.unfold(a, layer.kernel_size, **options)  # type: ignore[arg-type]
    return [(patches @ g.flatten(2).mT).mT.flatten(1)]


_COMPUTE = {"groups": _gradients_by_groups, "patches": _gradients_by_patches}


def _gram_squares(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    """Return each example's squared gradient norm, bias included, from inner products of pixels.

    The inner product of the patches of two output pixels is a sum of products of two input pixels
    over the positions in the kernel. Positions on the padding add 0.
    """
    inputs, outputs = _pixel_products(a), _pixel_products(g)
    squares = g.new_zeros(len(g))
    for position in itertools.product(*(range(k) for k in layer.kernel_size)):
        out, into = [], []
        for axis in range(2):
            first, last, offset = _rows_on_image(layer, axis, position[axis], g.shape[2 + axis], a)
            stride = layer.stride[axis]
            out.append(slice(first, last))
            into.append(slice(first * stride + offset, (last - 1) * stride + offset + 1, stride))

        if all(s.stop > s.start for s in out):
            output_pairs = outputs[(slice(None), *out, *out)]
            input_pairs = inputs[(slice(None), *into, *into)]
            squares += (output_pairs * input_pairs).sum((1, 2, 3, 4))

    return squares if layer.bias is None else squares + outputs.sum((1, 2, 3, 4))


def _rows_on_image(
    layer: nn.Conv2d, axis: int, position: int, n_rows: int, a: Tensor
) -> tuple[int, int, int]:
    """Return the output rows [first, last) for which a row of the kernel lies on the image.

    Also return its offset, the input row for output row 0. ``position`` is the row of the kernel
    and ``n_rows`` the number of output rows. With ``axis`` 1, rows are columns.
    """
    padding, stride = int(layer.padding[axis]), layer.stride[axis]
    offset = position * layer.dilation[axis] - padding
    first = max(0, math.ceil(-offset / stride))
    last = min(n_rows, (a.shape[2 + axis] - 1 - offset) // stride + 1)
    return first, last, offset


def _pixel_products(x: Tensor) -> Tensor:
    """Return the inner products of all pairs of pixels, (n, height, width, height, width)."""
    n, _, height, width = x.shape
    pixels = x.flatten(2)
    return (pixels.mT @ pixels).view(n, height, width, height, width)
