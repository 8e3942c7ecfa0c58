"""How a network is laid out in memory and in what order its layers run: speed, never results."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

MONOTONE = (nn.ReLU, nn.Tanh, nn.Sigmoid)


class Layers(nn.Sequential):
    """Named layers in order.

    A max-pooling right after a block that ends in a monotone activation runs before it: the highest
    of the activations is the activation of the highest, and there are fewer of them. A layer that
    somebody watches through a hook is computed in its own place.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        layers = iter(itertools.pairwise([*self.children(), None]))
        for layer, following in layers:
            if following is not None and _may_swap(layer, following):
                assert isinstance(layer, nn.Sequential)
                *before, activation = layer
                for part in (*before, following, activation):
                    x = part(x)
                next(layers)
            elif layer is not None:
                x = layer(x)
        return x


def _may_swap(layer: nn.Module | None, following: nn.Module) -> bool:
    ends = isinstance(layer, nn.Sequential) and isinstance(layer[-1], MONOTONE)
    watched = layer is not None and (layer._forward_hooks or following._forward_hooks)
    return ends and isinstance(following, nn.MaxPool2d) and not watched


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
