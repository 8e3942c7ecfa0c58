"""Small convolutional targets, from one convolution to three."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.models.layers import (
    Activation,
    Plan,
    Shape,
    Width,
    activation,
    classifier,
    dropouts,
    image_shape,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class ThesisCnn:
    """Three convolutions, each with pooling, then a dense layer; for images from 8x8 up."""

    activation: Activation = "relu"
    widths: Annotated[
        tuple[Width, Width, Width], Field(description="output channels of the three convolutions")
    ] = (32, 64, 128)
    dense: Annotated[Width, Field(description="units of the dense layer")] = 128

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 pool1 conv2 pool2 conv3 pool3 flatten dense output."""
        from torch import nn

        channels, _, _ = image_shape(shape, 8, "thesis_cnn")
        layers: Plan = []

        for i, width in enumerate(self.widths, start=1):
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            layers += [
                (f"conv{i}", nn.Sequential(convolution, activation(self.activation))),
                *dropouts(i, dropout, spatial_dropout),
                (f"pool{i}", nn.MaxPool2d(2)),
            ]
            channels = width

        after = dropouts(4, dropout)
        return classifier(
            layers, shape, n_classes, dense=self.dense, act=self.activation, after_dense=after
        )


@dataclass(frozen=True, kw_only=True)
class MnistCnn:
    """Opacus' MNIST example: two strided convolutions with pooling, dense 32, output."""

    activation: Activation = "relu"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 pool1 conv2 pool2 flatten dense output."""
        from torch import nn

        channels, _, _ = image_shape(shape, 16, "mnist_cnn")
        act = self.activation
        first = nn.Sequential(nn.Conv2d(channels, 16, 8, stride=2, padding=3), activation(act))
        second = nn.Sequential(nn.Conv2d(16, 32, 4, stride=2), activation(act))

        layers: Plan = [
            ("conv1", first),
            *dropouts(1, dropout, spatial_dropout),
            ("pool1", nn.MaxPool2d(2, 1)),
            ("conv2", second),
            *dropouts(2, dropout, spatial_dropout),
            ("pool2", nn.MaxPool2d(2, 1)),
        ]

        after = dropouts(3, dropout)
        return classifier(layers, shape, n_classes, dense=32, act=act, after_dense=after)


@dataclass(frozen=True, kw_only=True)
class Conv1:
    """One 3x3 convolution with a single output channel, then softmax (Gianitsos' faces)."""

    activation: Activation = "relu"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 flatten output."""
        channels, _, _ = image_shape(shape, 3, "conv1")
        after = dropouts(1, dropout, spatial_dropout)
        return _one_convolution(channels, 1, self.activation, after, shape, n_classes)


@dataclass(frozen=True, kw_only=True)
class Conv3:
    """One 3x3 convolution with three output channels, then softmax (Gianitsos' faces)."""

    activation: Activation = "relu"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 flatten output."""
        channels, _, _ = image_shape(shape, 3, "conv3")
        after = dropouts(1, dropout, spatial_dropout)
        return _one_convolution(channels, 3, self.activation, after, shape, n_classes)


def _one_convolution(
    channels: int, width: int, act: Activation, after: Plan, shape: Shape, n_classes: int
) -> nn.Module:
    """Return a convolution of ``width`` channels, the layers ``after`` it, and the output."""
    from torch import nn

    convolution = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), activation(act))
    return classifier([("conv1", convolution), *after], shape, n_classes)
