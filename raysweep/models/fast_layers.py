"""Layers that compute the same faster: order, dropout, and layout in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KEEPS_ORDER = (nn.ReLU, nn.Tanh, nn.Sigmoid)

KEEPS_ZERO = (nn.ReLU, nn.Tanh)

STEPS = 2**16  # in which dropout's p is rounded on a CPU


class Layers(nn.Sequential):
    """Named layers in order.

    A max-pooling that follows a block which ends in a monotone activation runs before it: the
    highest of the activations is the activation of the highest, and there are fewer of them; so it
    is with dropout between the two where the activation of 0 is 0. A layer that somebody watches
    through a hook is computed in its own place.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        layers = [*self.children()]
        while layers:
            block, *layers = layers
            dropout = layers[0] if layers and isinstance(layers[0], Dropout) else None
            pool = layers[1 if dropout else 0] if len(layers) > bool(dropout) else None
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
            layers = layers[1 + bool(dropout) :]
        return x


def _may_pool_first(block: nn.Module, dropout: nn.Module | None, pool: nn.Module | None) -> bool:
    kinds = KEEPS_ORDER if dropout is None else KEEPS_ZERO
    if not isinstance(block, nn.Sequential) or not isinstance(block[-1], kinds):
        return False
    in_place = (block, block[-1], dropout, pool)
    watched = any(layer is not None and layer._forward_hooks for layer in in_place)
    return isinstance(pool, nn.MaxPool2d) and not watched


class Dropout(nn.Dropout):
    """``nn.Dropout`` with masks from 16 random bits an element on a CPU, where torch draws 64.

    There p is rounded to a multiple of 1 / STEPS, and what is kept is scaled by the share that
    is really kept.
    """

    @property
    def keep(self) -> float:
        """The share of elements that is kept, in (0, 1]."""
        return 1 - min(round(self.p * STEPS), STEPS - 1) / STEPS

    def mask(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return 1 where an element of ``x`` is kept and 0 where not, laid out as ``x`` is."""
        if x.device.type != "cpu":
            return torch.empty_like(x).bernoulli_(self.keep, generator=generator)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        words.random_(-(2**63), None, generator=generator)
        drawn = words.view(torch.int16)[: x.numel()]
        kept = drawn >= round((1 - self.keep) * STEPS) - STEPS // 2
        mask = torch.empty_like(x, memory_format=torch.preserve_format)
        if x.dim() == 4 and mask.is_contiguous(memory_format=torch.channels_last):
            n, channels, height, width = x.shape
            kept = kept.view(n, height, width, channels).permute(0, 3, 1, 2)
        return mask.copy_(kept.view(x.shape) if kept.dim() == 1 else kept)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training or self.p == 0:
            return x
        return x * (self.mask(x) / self.keep)
