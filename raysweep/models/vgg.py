"""VGG-like targets (Simonyan & Zisserman 2014), as small as Kaya et al. 2020 have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
class _Vgg:
    """Convolutions of the widths in ``PLAN``, fc1024, output; BatchNorm, or GroupNorm under DP."""

    NAME: ClassVar[str]
    LEAST: ClassVar[int]  # pixels on a side
    PLAN: ClassVar[tuple[int, ...]]

    activation: Activation = "relu"
    norm: Norm = "batch"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 ... pool1 ... flatten dense output; dropout after every convolution."""
        from torch import nn

        channels, _, _ = image(shape, self.LEAST, self.NAME)
        layers: Plan = []
        convolutions, pools = 0, 0
        for width in self.PLAN:
            if width == POOL:
                pools += 1
                layers.append((f"pool{pools}", nn.MaxPool2d(2)))
                continue
            convolutions += 1
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            norm, act = normalisation(self.norm, width), activation(self.activation)
            layers.append((f"conv{convolutions}", nn.Sequential(convolution, norm, act)))
            layers += dropouts(convolutions, dropout, spatial_dropout)
            channels = width
        layers.append(("flatten", nn.Flatten()))
        size = flat_size(layers, shape)
        dense = nn.Sequential(nn.Linear(size, 1024), activation(self.activation))
        return sequence([*layers, ("dense", dense), ("output", nn.Linear(1024, n_classes))])


@dataclass(frozen=True, kw_only=True)
class Vgg4(_Vgg):
    """conv128 pool conv256 pool fc1024 output; BatchNorm, or GroupNorm under DP."""

    NAME, LEAST = "vgg4", 4
    PLAN = (128, POOL, 256, POOL)


@dataclass(frozen=True, kw_only=True)
class Vgg7(_Vgg):
    """Five convolutions of 64 to 512, fc1024, output; BatchNorm, or GroupNorm under DP."""

    NAME, LEAST = "vgg7", 16
    PLAN = (64, POOL, 128, POOL, 256, POOL, 512, 512, POOL)


@dataclass(frozen=True, kw_only=True)
class Vgg9(_Vgg):
    """Seven convolutions of 64 to 512, fc1024, output; BatchNorm, or GroupNorm under DP."""

    NAME, LEAST = "vgg9", 16
    PLAN = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, 512, POOL)
