"""A residual network that raysweep does not have: the model of own_model.yaml."""

from __future__ import annotations

import math

import torch
from torch import nn


class ResidualNetwork(nn.Module):
    """Two hidden layers, the second added to the first."""

    def __init__(self, n_inputs: int, n_classes: int, width: int, dropout: float) -> None:
        super().__init__()

        # An attack can look at every named part: `layers: [hidden, output]` in the space.
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, width), nn.Tanh())
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(dropout))
        self.output = nn.Linear(width, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n, n_classes) of images (n, channels, height, width) in [0, 1]."""
        first = self.first(images)
        return self.output(first + self.hidden(first))


def residual_network(
    shape: tuple[int, ...], n_classes: int, *, width: int = 64, dropout: float = 0.0
) -> nn.Module:
    """Return an untrained network for examples of ``shape``.

    raysweep passes ``shape`` and ``n_classes`` of the data, ``dropout`` when it is swept, and every
    other key of the space's ``model`` block by name. It sets the random seed before the call.
    """
    return ResidualNetwork(math.prod(shape), n_classes, width, dropout)
