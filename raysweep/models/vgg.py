"""VGG-like targets (Simonyan & Zisserman 2014) in the small sizes of Kaya et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from raysweep.models.layers import (
    Activation,
    Norm,
    Shape,
    activation,
    dropouts,
    flat_size,
    image_shape,
    normalisation,
    sequence,
)

if TYPE_CHECKING:
    from torch import nn

    from raysweep.models.layers import Plan


POOL = 0
"""Stands for a pooling in a list of widths."""


@dataclass(frozen=True, kw_only=True)
class Vgg4:
    """conv128 pool conv256 pool fc1024 output; BatchNorm, or GroupNorm under DP."""

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 ... pool1 ... flatten dense output; dropout after every convolution."""
        channels, _, _ = image_shape(shape, 4, "vgg4")
        widths = (128, POOL, 256, POOL)
        layers = _convolutions(
            channels, widths, self.activation, self.norm, dropout, spatial_dropout
        )
        return _append_classifier(layers, self.activation, shape, n_classes)


@dataclass(frozen=True, kw_only=True)
class Vgg7:
    """Five convolutions of 64 to 512, fc1024, output; BatchNorm, or GroupNorm under DP."""

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 ... pool1 ... flatten dense output; dropout after every convolution."""
        channels, _, _ = image_shape(shape, 16, "vgg7")
        widths = (64, POOL, 128, POOL, 256, POOL, 512, 512, POOL)
        layers = _convolutions(
            channels, widths, self.activation, self.norm, dropout, spatial_dropout
        )
        return _append_classifier(layers, self.activation, shape, n_classes)


@dataclass(frozen=True, kw_only=True)
class Vgg9:
    """Seven convolutions of 64 to 512, fc1024, output; BatchNorm, or GroupNorm under DP."""

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 ... pool1 ... flatten dense output; dropout after every convolution."""
        channels, _, _ = image_shape(shape, 16, "vgg9")
        widths = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, 512, POOL)
        layers = _convolutions(
            channels, widths, self.activation, self.norm, dropout, spatial_dropout
        )
        return _append_classifier(layers, self.activation, shape, n_classes)


def _convolutions(
    channels: int,
    widths: Sequence[int],
    act: Activation,
    norm: Norm,
    dropout: float,
    spatial_dropout: float,
) -> Plan:
    """Return the convolutions of ``widths``, each with its dropout, and the poolings among them."""
    from torch import nn

    layers: Plan = []
    n_convolutions, n_pools = 0, 0

    for width in widths:
        if width == POOL:
            n_pools += 1
            layers.append((f"pool{n_pools}", nn.MaxPool2d(2)))
            continue

        n_convolutions += 1
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        block = nn.Sequential(convolution, normalisation(norm, width), activation(act))
        layers.append((f"conv{n_convolutions}", block))
        layers += dropouts(n_convolutions, dropout, spatial_dropout)
        channels = width

    return layers


def _append_classifier(before: Plan, act: Activation, shape: Shape, n_classes: int) -> nn.Module:
    """Return the layers ``before``, followed by flatten, a dense layer of 1024 and the output."""
    from torch import nn

    layers: Plan = [*before, ("flatten", nn.Flatten())]
    size = flat_size(layers, shape)
    dense = nn.Sequential(nn.Linear(size, 1024), activation(act))
    return sequence([*layers, ("dense", dense), ("output", nn.Linear(1024, n_classes))])
