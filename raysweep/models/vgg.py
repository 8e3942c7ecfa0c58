"""VGG-like targets (Simonyan & Zisserman 2014), as small as Kaya et al. 2020 have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from raysweep.models.layers import (
    Activation,
    Norm,
    Shape,
    activation,
    dropouts,
    flat_size,
    image,
    normalisation,
    sequence,
)

if TYPE_CHECKING:
    from torch import nn

    from raysweep.models.layers import Plan

POOL = 0
"""A pooling among widths."""


@dataclass(frozen=True, kw_only=True)
class Vgg4:
    """conv128 pool conv256 pool fc1024 output; BatchNorm, or GroupNorm under DP."""

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 pool1 conv2 pool2 flatten dense output; dropout after every convolution."""
        image(shape, 4, "vgg4")
        plan = (128, POOL, 256, POOL)
        return _vgg(plan, self.activation, self.norm, shape, n_classes, dropout, spatial_dropout)


@dataclass(frozen=True, kw_only=True)
class Vgg7:
    """Five convolutions of 64 to 512, fc1024, output; BatchNorm, or GroupNorm under DP."""

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 ... conv5 pool4 flatten dense output; dropout after every convolution."""
        image(shape, 16, "vgg7")
        plan = (64, POOL, 128, POOL, 256, POOL, 512, 512, POOL)
        return _vgg(plan, self.activation, self.norm, shape, n_classes, dropout, spatial_dropout)


@dataclass(frozen=True, kw_only=True)
class Vgg9:
    """Seven convolutions of 64 to 512, fc1024, output; BatchNorm, or GroupNorm under DP."""

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 ... conv7 pool4 flatten dense output; dropout after every convolution."""
        image(shape, 16, "vgg9")
        plan = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, 512, POOL)
        return _vgg(plan, self.activation, self.norm, shape, n_classes, dropout, spatial_dropout)


def _vgg(
    plan: tuple[int, ...],
    act: Activation,
    norm: Norm,
    shape: Shape,
    n_classes: int,
    dropout: float,
    spatial_dropout: float,
) -> nn.Module:
    from torch import nn

    layers: Plan = []
    channels, convolutions, pools = shape[0], 0, 0
    for width in plan:
        if width == POOL:
            pools += 1
            layers.append((f"pool{pools}", nn.MaxPool2d(2)))
            continue
        convolutions += 1
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        block = nn.Sequential(convolution, normalisation(norm, width), activation(act))
        layers += [
            (f"conv{convolutions}", block),
            *dropouts(convolutions, dropout, spatial_dropout),
        ]
        channels = width
    layers.append(("flatten", nn.Flatten()))
    dense = nn.Sequential(nn.Linear(flat_size(layers, shape), 1024), activation(act))
    return sequence([*layers, ("dense", dense), ("output", nn.Linear(1024, n_classes))])
