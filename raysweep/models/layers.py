"""What targets are built of. torch is imported when one is built."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt

from raysweep.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    Plan = list[tuple[str, nn.Module | None]]


Activation = Literal["relu", "tanh"]

Norm = Literal["batch", "group"]

Shape = tuple[int, ...]

Width = Annotated[int, Gt(0)]

MOST_GROUPS = 32
"""Wu & He 2018: 32 groups where the width allows it."""


def activation(name: str) -> nn.Module:
    """Return the activation called ``name``."""
    from torch import nn

    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    return kinds[name]()


def normalisation(kind: Norm, width: int) -> nn.Module:
    """Return BatchNorm, or the GroupNorm that stands in for it where DP forbids mixing examples."""
    from torch import nn

    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(gcd(MOST_GROUPS, width), width)


def sequence(layers: Plan) -> nn.Module:
    """Return the named layers in order, leaving out those that are None."""
    from collections import OrderedDict

    from raysweep.models.fast_layers import Layers

    return Layers(OrderedDict((name, layer) for name, layer in layers if layer is not None))


def dropouts(number: int, dropout: float, spatial: float = 0.0) -> Plan:
    """Return the dropout layers after hidden block ``number``; those of probability 0 are None."""
    from torch import nn

    from raysweep.models.fast_layers import Dropout

    return [
        (f"spatial_dropout{number}", nn.Dropout2d(spatial) if spatial > 0 else None),
        (f"dropout{number}", Dropout(dropout) if dropout > 0 else None),
    ]


def image(shape: Shape, least: int, name: str) -> tuple[int, int, int]:
    """Return (channels, height, width), at least ``least`` pixels on a side."""
    if len(shape) != 3 or min(shape[1:]) < least:
        law = f"needs images of at least {least}x{least}"
        raise ModelError(f"model {name!r} {law}, got examples of shape {shape}; use mlp or softmax")
    return shape[0], shape[1], shape[2]


def refuse_channels(spatial_dropout: float, name: str) -> None:
    """Raise :class:`ModelError` when spatial dropout is asked of a model without channels."""
    if spatial_dropout > 0:
        told = f"spatial_dropout {spatial_dropout} silences whole channels"
        remedy = "use an image model, or leave it out"
        raise ModelError(f"{told}, and model {name!r} has none; {remedy}")


def flat_size(layers: Plan, shape: Shape) -> int:
    """Return how many numbers ``layers`` give for one example."""
    import torch

    module = sequence(layers).eval()
    with torch.no_grad():
        size = int(module(torch.zeros(1, *shape)).numel())
    module.train()
    return size
