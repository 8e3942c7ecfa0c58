"""The layers and checks that targets share. torch is imported only when a target is built."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt
from pydantic import Field

from raysweep.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


Activation = Annotated[
    Literal["relu", "tanh"], Field(description="activation after each hidden layer")
]

Norm = Annotated[
    Literal["batch", "group"],
    Field(description="group if a trial of the sweep may have DP, else batch"),
]

Plan = list[tuple[str, "nn.Module | None"]]
"""Layers in order, each with its name. None stands for a layer that is left out."""

Shape = tuple[int, ...]

Width = Annotated[int, Gt(0)]

MAX_GROUPS = 32
"""The number of groups of a GroupNorm, if the width is a multiple of it (Wu & He 2018)."""


def activation(name: str) -> nn.Module:
    """Return the activation called ``name``."""
    from torch import nn

    from raysweep.models.fast_layers import FastTanh

    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": FastTanh, "sigmoid": nn.Sigmoid}
    return kinds[name]()


def normalisation(kind: Norm, width: int) -> nn.Module:
    """Return BatchNorm, or GroupNorm, which does not mix examples and so permits DP."""
    from torch import nn

    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(gcd(MAX_GROUPS, width), width)


def sequence(layers: Plan) -> nn.Module:
    """Return the named layers as one module, in order; leave out those that are None."""
    from collections import OrderedDict

    from raysweep.models.fast_layers import FastSequential

    return FastSequential(OrderedDict((name, layer) for name, layer in layers if layer is not None))


def dropouts(number: int, dropout: float, spatial: float = 0.0) -> Plan:
    """Return the dropout layers after hidden block ``number``; those of probability 0 are None."""
    from torch import nn

    from raysweep.models.fast_layers import FastDropout

    return [
        (f"spatial_dropout{number}", nn.Dropout2d(spatial) if spatial > 0 else None),
        (f"dropout{number}", FastDropout(dropout) if dropout > 0 else None),
    ]


def image_shape(shape: Shape, min_side: int, name: str) -> tuple[int, int, int]:
    """Return (channels, height, width) of the examples.

    Raises:
        ModelError: they are not images, or have fewer than ``min_side`` pixels on a side.

    """
    if len(shape) != 3 or min(shape[1:]) < min_side:
        raise ModelError(
            f"model {name!r} needs images of at least {min_side}x{min_side}, got examples of "
            f"shape {shape}",
            remedy="use mlp or softmax",
        )
    return shape[0], shape[1], shape[2]


def refuse_spatial_dropout(spatial_dropout: float, name: str) -> None:
    """Raise :class:`ModelError` if spatial dropout is wanted for a model without channels."""
    if spatial_dropout > 0:
        raise ModelError(
            f"spatial_dropout {spatial_dropout} zeroes whole channels, and model {name!r} has none",
            remedy="use an image model, or leave it out",
        )


def classifier(
    before: Plan,
    shape: Shape,
    n_classes: int,
    *,
    dense: int = 0,
    act: str = "relu",
    after_dense: Plan | None = None,
) -> nn.Module:
    """Return the layers ``before``, then flatten and the output.

    With ``dense`` units there is a dense layer, and the layers ``after_dense``, before the output.
    """
    import torch
    from torch import nn

    layers: Plan = [*before, ("flatten", nn.Flatten())]
    with torch.no_grad():
        size = int(sequence(layers).eval()(torch.zeros(1, *shape)).numel())

    if dense:
        block = nn.Sequential(nn.Linear(size, dense), activation(act))
        layers += [("dense", block), *(after_dense or [])]
    return sequence([*layers, ("output", nn.Linear(dense or size, n_classes))]).train()
