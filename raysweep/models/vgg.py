"""VGG-like targets (Simonyan & Zisserman 2014) in the small sizes of Kaya et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from raysweep.models.layers import (
    Activation,
    Norm,
    Plan,
    Shape,
    activation,
    classifier,
    dropouts,
    image_shape,
    normalisation,
)

if TYPE_CHECKING:
    from torch import nn


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
        widths = (channels, 128, POOL, 256, POOL)
        return _build(self, widths, shape, n_classes, dropout, spatial_dropout)


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
        widths = (channels, 64, POOL, 128, POOL, 256, POOL, 512, 512, POOL)
        return _build(self, widths, shape, n_classes, dropout, spatial_dropout)


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
        widths = (channels, 64, POOL, 128, POOL, 256, 256, POOL, 512, 512, 512, POOL)
        return _build(self, widths, shape, n_classes, dropout, spatial_dropout)


def _build(
    model: Vgg4 | Vgg7 | Vgg9,
    widths: Sequence[int],
    shape: Shape,
    n_classes: int,
    dropout: float,
    spatial_dropout: float,
) -> nn.Module:
    """Return a convolution of each of ``widths`` with its dropout, POOL a pooling; fc1024, output.

    The first of ``widths`` are the channels of the examples.
    """
    from torch import nn

    layers: Plan = []
    channels, *others = widths
    n_convolutions, n_pools = 0, 0

    for width in others:
        if width == POOL:
            n_pools += 1
            layers.append((f"pool{n_pools}", nn.MaxPool2d(2)))
            continue

        n_convolutions += 1
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        parts = convolution, normalisation(model.norm, width), activation(model.activation)
        layers.append((f"conv{n_convolutions}", nn.Sequential(*parts)))
        layers += dropouts(n_convolutions, dropout, spatial_dropout)
        channels = width

    return classifier(layers, shape, n_classes, dense=1024, act=model.activation)
