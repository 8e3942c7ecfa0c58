"""Targets that take any shape: one linear layer, or dense layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import MinLen
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.models.layers import (
    Plan,
    Shape,
    Width,
    activation,
    dropouts,
    refuse_spatial_dropout,
    sequence,
)

if TYPE_CHECKING:
    from torch import nn


Hidden = Annotated[
    tuple[Width, ...], MinLen(1), Field(description="units of each dense layer, first to last")
]

DenseActivation = Annotated[
    Literal["relu", "tanh", "sigmoid"], Field(description="activation after each dense layer")
]


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Multinomial logistic regression: one linear layer; takes any shape."""

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return flatten output; dropout acts on the input features."""
        from torch import nn

        refuse_spatial_dropout(spatial_dropout, "softmax")
        output = nn.Linear(math.prod(shape), n_classes)
        return sequence([("flatten", nn.Flatten()), *dropouts(1, dropout), ("output", output)])


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Dense layers; by default one of 3,000 sigmoid units (Fredrikson et al. 2015)."""

    hidden: Hidden = (3000,)
    activation: DenseActivation = "sigmoid"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return flatten dense1 ... output, dropout after every dense layer but the output."""
        refuse_spatial_dropout(spatial_dropout, "mlp")
        return _dense(self.hidden, self.activation, shape, n_classes, dropout)


@dataclass(frozen=True, kw_only=True)
class RecordMlp:
    """Dense layers for binary records; by default 1024-512-256-128 tanh (Nasr et al. 2018)."""

    hidden: Hidden = (1024, 512, 256, 128)
    activation: DenseActivation = "tanh"

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return flatten dense1 ... output, dropout after every dense layer but the output."""
        refuse_spatial_dropout(spatial_dropout, "record_mlp")
        return _dense(self.hidden, self.activation, shape, n_classes, dropout)


def _dense(
    hidden: tuple[int, ...], act: DenseActivation, shape: Shape, n_classes: int, dropout: float
) -> nn.Module:
    """Return flatten, the hidden layers with their dropout, and the output."""
    from torch import nn

    layers: Plan = [("flatten", nn.Flatten())]
    size = math.prod(shape)

    for i, width in enumerate(hidden, start=1):
        dense = nn.Sequential(nn.Linear(size, width), activation(act))
        layers += [(f"dense{i}", dense), *dropouts(i, dropout)]
        size = width

    return sequence([*layers, ("output", nn.Linear(size, n_classes))])
