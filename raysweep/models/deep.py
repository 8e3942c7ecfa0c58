"""The targets that Nasr et al. 2018 train on CIFAR-100: AlexNet and DenseNet for 32x32 images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from raysweep.models.layers import (
    Activation,
    Norm,
    Plan,
    Shape,
    Width,
    activation,
    classifier,
    dropouts,
    image_shape,
    normalisation,
    sequence,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class AlexNet:
    """AlexNet in the variant for 32x32 images: five convolutions, three poolings, output."""

    activation: Activation = "relu"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 pool1 conv2 pool2 conv3 conv4 conv5 pool3 flatten output."""
        from torch import nn

        channels, _, _ = image_shape(shape, 16, "alexnet")
        # width, kernel, stride, padding of each convolution
        plan = ((64, 11, 4, 5), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
        pool_after = {1: 1, 2: 2, 5: 3}
        layers: Plan = []

        for i, (width, kernel, stride, padding) in enumerate(plan, start=1):
            convolution = nn.Conv2d(channels, width, kernel, stride, padding)
            layers.append((f"conv{i}", nn.Sequential(convolution, activation(self.activation))))
            layers += dropouts(i, dropout, spatial_dropout)
            if i in pool_after:
                layers.append((f"pool{pool_after[i]}", nn.MaxPool2d(2, ceil_mode=True)))
            channels = width

        return classifier(layers, shape, n_classes)


@dataclass(frozen=True, kw_only=True)
class DenseNet:
    """DenseNet-BC (Huang et al. 2017): three blocks, bottlenecks, compression by a half.

    ``depth`` is 6 n + 4; BatchNorm, or GroupNorm under DP.
    """

    depth: Annotated[
        int, Ge(10), Field(description="number of layers; must be 6 n + 4, such as 40 or 100")
    ] = 100
    growth: Annotated[Width, Field(description="channels that each layer of a block adds")] = 12
    activation: Activation = "relu"
    norm: Norm = "batch"

    @field_validator("depth")
    @classmethod
    def _three_equal_blocks(cls, depth: int) -> int:
        if (depth - 4) % 6:
            raise ValueError(f"`depth` must be 6 n + 4, such as 40 or 100, got {depth}")
        return depth

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return conv1 block1 transition1 block2 transition2 block3 pool flatten output."""
        from torch import nn

        channels, _, _ = image_shape(shape, 8, "densenet")
        width = 2 * self.growth
        layers: Plan = [("conv1", nn.Conv2d(channels, width, 3, padding=1, bias=False))]

        for number in (1, 2, 3):
            steps: Plan = []
            for step in range((self.depth - 4) // 6):
                steps.append((f"step{step + 1}", self._step(width, dropout, spatial_dropout)))
                width += self.growth

            layers.append((f"block{number}", sequence(steps)))
            if number < 3:
                layers.append((f"transition{number}", self._transition(width)))
                width //= 2

        pool = nn.Sequential(
            normalisation(self.norm, width),
            activation(self.activation),
            nn.AdaptiveAvgPool2d(1),
        )
        output = nn.Linear(width, n_classes)
        return sequence([*layers, ("pool", pool), ("flatten", nn.Flatten()), ("output", output)])

    def _step(self, width: int, dropout: float, spatial_dropout: float) -> nn.Module:
        """Return Huang et al.'s composite function H, with its output appended to its input."""
        from torch import nn

        bottleneck = 4 * self.growth
        layers: Plan = [
            ("norm1", normalisation(self.norm, width)),
            ("activation1", activation(self.activation)),
            ("conv1", nn.Conv2d(width, bottleneck, 1, bias=False)),
            ("norm2", normalisation(self.norm, bottleneck)),
            ("activation2", activation(self.activation)),
            ("conv2", nn.Conv2d(bottleneck, self.growth, 3, padding=1, bias=False)),
            *dropouts(1, dropout, spatial_dropout),
        ]
        return _append_output(sequence(layers))

    def _transition(self, width: int) -> nn.Module:
        """Return the layers between two blocks: half the channels, half the height and width."""
        from torch import nn

        return nn.Sequential(
            normalisation(self.norm, width),
            activation(self.activation),
            nn.Conv2d(width, width // 2, 1, bias=False),
            nn.AvgPool2d(2),
        )


def _append_output(inner: nn.Module) -> nn.Module:
    """Return a module that appends the channels that ``inner`` computes to those of its input."""
    import torch
    from torch import nn

    class AppendOutput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, self.inner(x)], dim=1)

    return AppendOutput()
