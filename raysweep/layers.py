"""Layers that compute the same faster: order, dropout, and layout in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raysweep.errors import ModelError

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


class PackedLinear(nn.Linear):
    """The linear layers of K models in one: (K, n, in) to (K, n, out)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        first = layers[0]
        super().__init__(first.in_features, first.out_features, first.bias is not None, "meta")
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        if first.bias is not None:
            self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if self.bias is None:
            return x @ self.weight.mT
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class Packed(nn.Module):
    """K models of one architecture in one: (K, n, *shape) to (K, n, classes).

    Made by :func:`pack`. In training ``counts`` are how many of the n rows each model really has,
    and each model's dropout draws from its own of ``generators``, as it would alone.
    """

    def __init__(self, leaves: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.leaves, self._generators = nn.ModuleList(leaves), generators

    def forward(self, x: Tensor, counts: Sequence[int] = ()) -> Tensor:  # noqa: D102
        for leaf in self.leaves:
            if isinstance(leaf, nn.Flatten):
                x = x.flatten(2)
            elif not isinstance(leaf, Dropout):
                x = leaf(x)
            elif leaf.training:
                mask = torch.zeros_like(x)
                for k, (n, generator) in enumerate(zip(counts, self._generators, strict=True)):
                    mask[k, :n] = leaf.mask(x[k, :n], generator)
                x = x * (mask / leaf.keep)
        return x


def pack(models: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> Packed | None:
    """Return the models in one, or None when they have layers that cannot be packed."""
    rows = list(zip(*(_leaves(model) for model in models), strict=True))
    kinds = (nn.Flatten, nn.Linear, Dropout, *KEEPS_ORDER)
    if not rows or any(type(row[0]) not in kinds for row in rows):
        return None
    return Packed(
        [PackedLinear(row) if type(row[0]) is nn.Linear else row[0] for row in rows], generators
    )


def unpack(packed: Packed, models: Sequence[nn.Module]) -> None:
    """Copy the parameters back into the models."""
    with torch.no_grad():
        for leaf, *own in zip(packed.leaves, *(_leaves(model) for model in models), strict=True):
            for name, parameter in leaf.named_parameters():
                for k, layer in enumerate(own):
                    layer.get_parameter(name).copy_(parameter[k])


def _leaves(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a sequence of sequences in order; nothing of any other model."""
    containers = [module for module in model.modules() if any(module.children())]
    if not all(isinstance(module, nn.Sequential) for module in containers):
        return []
    return [module for module in model.modules() if not any(module.children())]


def default_device() -> torch.device:
    """Return the GPU where torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Return what a forward pass runs in: nothing for ``fp32``, torch's autocast for ``bf16``.

    Raises:
        ModelError: the device computes no bf16 by itself.

    """
    if precision == "fp32":
        return contextlib.nullcontext()
    on_cuda = device.type == "cuda"
    of_cpu = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    able = torch.cuda.is_bf16_supported() if on_cuda else of_cpu()
    if not able:
        remedy = "set training.precision to fp32"
        raise ModelError(f"training.precision is bf16 and this {device.type} has none; {remedy}")
    return torch.autocast(device.type, torch.bfloat16)


def channels_last(model: nn.Module, example: Tensor) -> nn.Module:
    """Lay out a model of images channels last, in place, where it can take it.

    ``example`` (n, *shape) is tried: a model that calls ``view`` on what a convolution gave needs
    the usual layout and keeps it.
    """
    if example.dim() != 4:
        return model
    was_training = model.training
    model.eval().to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            model(example)
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)
    return model.train(was_training)
