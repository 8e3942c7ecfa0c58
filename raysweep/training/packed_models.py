"""Several small models of one architecture as one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.models.fast_layers import KEEPS_ORDER, FastDropout, FastSequential
from raysweep.models.structure import is_known
from raysweep.training.packed_layers import BY_EXAMPLE, PACKED, may_be_packed


class PackedModels(nn.Module):
    """K models of one architecture as one: maps (K, n, *shape) to (K, n, classes).

    Made by :func:`pack`. The dropout of each model draws from its own generator, as it does when
    the model is trained alone. In training, ``counts`` is the number of real rows of
    each model, and the rest of its n rows is padding.
    """

    def __init__(
        self, rows: Sequence[Sequence[Any]], generators: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        leaves = (PACKED[type(row[0])](row) if type(row[0]) in PACKED else row[0] for row in rows)
        self.leaves, self._generators = nn.ModuleList(leaves), generators
        self._rows = rows  # of each leaf: the layers of the models

    def forward(self, x: Tensor, counts: Sequence[int] = ()) -> Tensor:  # noqa: D102
        for leaf in self.leaves:
            if isinstance(leaf, nn.Flatten):
                x = x.flatten(2)
            elif isinstance(leaf, BY_EXAMPLE):
                x = leaf(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            elif not isinstance(leaf, FastDropout):
                x = leaf(x)
            elif leaf.training:
                x = x * self._masks(leaf, x, counts).div_(leaf.keep)
        return x

    @torch.no_grad()
    def unpack(self) -> None:
        """Copy the parameters back into the models."""
        for leaf, layers in zip(self.leaves, self._rows, strict=True):
            for name, parameter in leaf.named_parameters():
                for k, layer in enumerate(layers):
                    layer.get_parameter(name).copy_(parameter[k])

    def _masks(self, dropout: FastDropout, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return each model's mask, in the order of draws of a model that is trained alone."""
        masks = torch.zeros_like(x)  # padding gets no draws of the generator
        for k, (n, generator) in enumerate(zip(counts, self._generators, strict=True)):
            images = x[k, :n]
            if images.dim() == 4:  # whose layout is channels last then
                images = images.contiguous(memory_format=torch.channels_last)
            masks[k, :n] = dropout.mask(images, generator)
        return masks


def pack(models: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> PackedModels | None:
    """Return the models as one, or None if they have layers that cannot be packed."""
    rows = list(zip(*(_leaves(model) for model in models), strict=True))
    kinds = (nn.Flatten, FastDropout, *KEEPS_ORDER, *BY_EXAMPLE)
    if not rows or not all(type(row[0]) in kinds or may_be_packed(row[0]) for row in rows):
        return None
    return PackedModels(rows, generators)


def _leaves(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a model in order, or [] if it is not a sequence of sequences."""
    containers = [module for module in model.modules() if any(module.children())]
    if not all(type(module) in (nn.Sequential, FastSequential) for module in containers):
        return []
    if not is_known(model) or not all(p.requires_grad for p in model.parameters()):
        return []
    return [module for module in model.modules() if not any(module.children())]
