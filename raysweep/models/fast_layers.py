"""Faster layers with the same results: a sequence that reorders layers, dropout and tanh."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MANY = 8192
"""Numbers from which :func:`fast_tanh` is faster, on one core of an EPYC with AVX-512."""


def fast_tanh(x: Tensor) -> Tensor:
    """Return tanh by torch's sigmoid, where that is faster: from MANY numbers in float32 on a CPU.

    tanh(x) = 2 sigmoid(2x) - 1. There the two differ by at most 2e-7, and nowhere else.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() < MANY:
        return torch.tanh(x)
    return torch.add(_MINUS_ONE, (2 * x).sigmoid_(), alpha=2)


_MINUS_ONE = torch.tensor(-1.0)


class FastTanh(nn.Tanh):
    """``nn.Tanh`` by :func:`fast_tanh`."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return fast_tanh(x)


KEEPS_ORDER = (nn.ReLU, FastTanh, nn.Tanh, nn.Sigmoid)
"""Monotone activations: the maximum of the outputs is the output for the maximum."""

KEEPS_ZERO = (nn.ReLU, FastTanh, nn.Tanh)
"""Monotone activations that map 0 to 0."""

PROBABILITY_STEPS = 2**16
"""On a CPU a dropout probability is rounded to a multiple of 1 / PROBABILITY_STEPS."""


class FastSequential(nn.Sequential):
    """Named layers in order, with each max-pooling moved before the activation where possible.

    The result is the same, and the activation has fewer elements to compute. The move is possible
    if the block before the pooling ends in a monotone activation. A dropout between the two is
    moved as well, if the activation maps 0 to 0. Layers with forward hooks keep their position.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        layers = [*self.children()]
        while layers:
            block, *layers = layers
            dropout = layers[0] if layers and isinstance(layers[0], FastDropout) else None
            n_dropouts = 0 if dropout is None else 1
            pool = layers[n_dropouts] if len(layers) > n_dropouts else None

            if not _may_pool_first(block, dropout, pool):
                x = block(x)
                continue

            assert isinstance(block, nn.Sequential)
            assert pool is not None
            *before, activation = block
            for part in before:
                x = part(x)

            if dropout is not None and dropout.training:
                x = activation(pool(x * dropout.mask(x))) / dropout.keep
            else:
                x = activation(pool(x))
            layers = layers[n_dropouts + 1 :]

        return x


def _may_pool_first(block: nn.Module, dropout: nn.Module | None, pool: nn.Module | None) -> bool:
    """Return whether ``pool`` gives the same result before the activation of ``block``."""
    if not isinstance(pool, nn.MaxPool2d) or not isinstance(block, nn.Sequential):
        return False
    if not isinstance(block[-1], KEEPS_ORDER if dropout is None else KEEPS_ZERO):
        return False
    moved = (block, block[-1], dropout, pool)
    return not any(layer is not None and layer._forward_hooks for layer in moved)


class FastDropout(nn.Dropout):
    """``nn.Dropout`` that draws 16 random bits for each element on a CPU, where torch draws 64.

    On a CPU, p is rounded to a multiple of 1 / PROBABILITY_STEPS. The elements that are kept are
    divided by the rounded probability, so that the mean stays the same.
    """

    @property
    def keep(self) -> float:
        """The probability of keeping an element, in (0, 1]."""
        drop_steps = min(round(self.p * PROBABILITY_STEPS), PROBABILITY_STEPS - 1)
        return 1 - drop_steps / PROBABILITY_STEPS

    def mask(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return 1 where an element of ``x`` is kept and 0 elsewhere, in the layout of ``x``."""
        if x.device.type != "cpu":
            return torch.empty_like(x).bernoulli_(self.keep, generator=generator)

        # Each 64-bit integer holds four 16-bit ones, uniform on -2**15 ... 2**15 - 1.
        integers = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        integers.random_(-(2**63), None, generator=generator)
        drawn = integers.view(torch.int16)[: x.numel()]
        threshold = round((1 - self.keep) * PROBABILITY_STEPS) - PROBABILITY_STEPS // 2
        kept = drawn >= threshold

        mask = torch.empty_like(x, memory_format=torch.preserve_format)
        if x.dim() == 4 and mask.is_contiguous(memory_format=torch.channels_last):
            n, channels, height, width = x.shape
            kept = kept.view(n, height, width, channels).permute(0, 3, 1, 2)
        else:
            kept = kept.view(x.shape)
        return mask.copy_(kept)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training or self.p == 0:
            return x
        return x * (self.mask(x) / self.keep)
