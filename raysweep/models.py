"""Targets: functions of a shape and a number of classes that return an ``nn.Module`` of logits.

Every module that an attacker may observe is named after its layer (``conv1``, ``pool1`` ...
``output``), activation included. torch is imported when one is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from annotated_types import Gt, MinLen
from pydantic.dataclasses import dataclass

from raysweep.errors import ModelError
from raysweep.registry import build, fields, is_reference, lookup, user_function

if TYPE_CHECKING:
    from torch import nn

Activation = Literal["relu", "tanh"]
Shape = tuple[int, ...]
Width = Annotated[int, Gt(0)]


class Model(Protocol):
    """Builds a target; ``dropout`` is the probability after each hidden block."""

    def build(self, shape: Shape, n_classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Return a module from (n, *shape) in [0, 1] to logits (n, n_classes)."""


def _activation(name: str) -> nn.Module:
    from torch import nn

    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    return kinds[name]()


def _named(layers: list[tuple[str, nn.Module | None]]) -> nn.Module:
    """Return the layers in order, leaving out those that are None."""
    from collections import OrderedDict

    from raysweep.layers import Layers

    return Layers(OrderedDict((name, layer) for name, layer in layers if layer is not None))


def _dropout(p: float) -> nn.Module | None:
    from raysweep.layers import Dropout

    return Dropout(p) if p > 0 else None


def _image(shape: Shape, least: int, name: str) -> tuple[int, int, int]:
    """Return (channels, height, width), at least ``least`` pixels on a side."""
    if len(shape) != 3 or min(shape[1:]) < least:
        law = f"needs images of at least {least}x{least}"
        raise ModelError(f"model {name!r} {law}, got examples of shape {shape}; use mlp or softmax")
    return shape[0], shape[1], shape[2]


def _flat_size(layers: list[tuple[str, nn.Module | None]], shape: Shape) -> int:
    import torch

    with torch.no_grad():
        return int(_named(layers)(torch.zeros(1, *shape)).numel())


@dataclass(frozen=True, kw_only=True)
class ThesisCnn:
    """Nine layers: three of convolution and pooling, flatten, dense, output; from 8x8 up."""

    activation: Activation = "relu"
    widths: tuple[Width, Width, Width] = (32, 64, 128)
    dense: Width = 128

    def build(self, shape: Shape, n_classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Return conv1 pool1 conv2 pool2 conv3 pool3 flatten dense output."""
        from torch import nn

        channels, _, _ = _image(shape, 8, "thesis_cnn")
        layers: list[tuple[str, nn.Module | None]] = []
        for i, width in enumerate(self.widths, start=1):
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            layers += [
                (f"conv{i}", nn.Sequential(convolution, _activation(self.activation))),
                (f"dropout{i}", _dropout(dropout)),
                (f"pool{i}", nn.MaxPool2d(2)),
            ]
            channels = width
        layers.append(("flatten", nn.Flatten()))
        size = _flat_size(layers, shape)
        dense = nn.Sequential(nn.Linear(size, self.dense), _activation(self.activation))
        output = nn.Linear(self.dense, n_classes)
        return _named(
            [*layers, ("dense", dense), ("dropout4", _dropout(dropout)), ("output", output)]
        )


@dataclass(frozen=True, kw_only=True)
class MnistCnn:
    """Opacus' MNIST example: two strided convolutions with pooling, dense 32, output."""

    activation: Activation = "relu"

    def build(self, shape: Shape, n_classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Return conv1 pool1 conv2 pool2 flatten dense output."""
        from torch import nn

        channels, _, _ = _image(shape, 16, "mnist_cnn")
        act = self.activation
        first = nn.Sequential(nn.Conv2d(channels, 16, 8, stride=2, padding=3), _activation(act))
        second = nn.Sequential(nn.Conv2d(16, 32, 4, stride=2), _activation(act))
        layers: list[tuple[str, nn.Module | None]] = [
            ("conv1", first),
            ("dropout1", _dropout(dropout)),
            ("pool1", nn.MaxPool2d(2, 1)),
            ("conv2", second),
            ("dropout2", _dropout(dropout)),
            ("pool2", nn.MaxPool2d(2, 1)),
            ("flatten", nn.Flatten()),
        ]
        dense = nn.Sequential(nn.Linear(_flat_size(layers, shape), 32), _activation(act))
        output = nn.Linear(32, n_classes)
        return _named(
            [*layers, ("dense", dense), ("dropout3", _dropout(dropout)), ("output", output)]
        )


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Multinomial logistic regression: one linear layer; takes any shape."""

    def build(self, shape: Shape, n_classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Return flatten output; dropout falls on the input features."""
        import math

        from torch import nn

        output = nn.Linear(math.prod(shape), n_classes)
        return _named(
            [("flatten", nn.Flatten()), ("dropout1", _dropout(dropout)), ("output", output)]
        )


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Dense layers; one of 3,000 sigmoid units unless told (Fredrikson et al. 2015)."""

    hidden: Annotated[tuple[Width, ...], MinLen(1)] = (3000,)
    activation: Literal["relu", "tanh", "sigmoid"] = "sigmoid"

    def build(self, shape: Shape, n_classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Return flatten dense1 ... output, dropout after every dense layer but the output."""
        import math

        from torch import nn

        layers: list[tuple[str, nn.Module | None]] = [("flatten", nn.Flatten())]
        size = math.prod(shape)
        for i, width in enumerate(self.hidden, start=1):
            dense = nn.Sequential(nn.Linear(size, width), _activation(self.activation))
            layers += [(f"dense{i}", dense), (f"dropout{i}", _dropout(dropout))]
            size = width
        return _named([*layers, ("output", nn.Linear(size, n_classes))])


@plain_dataclass(frozen=True, kw_only=True)
class UserModel:
    """Your own ``package.module:function(shape, n_classes, **parameters) -> nn.Module``."""

    reference: str
    parameters: Mapping[str, Any]

    def build(self, shape: Shape, n_classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Return what the function returns, shown to give logits (2, n_classes).

        Raises:
            ModelError: it raises, returns something else, or takes no ``dropout`` when asked to.

        """
        import torch
        from torch import nn

        function = user_function(self.reference, "model")
        options = dict(self.parameters)
        if dropout > 0:
            if "dropout" not in inspect.signature(function).parameters:
                remedy = (
                    "give the function a `dropout` parameter, or leave dropout out of the space"
                )
                raise ModelError(
                    f"model {self.reference!r} cannot have dropout {dropout}: {remedy}"
                )
            options["dropout"] = dropout
        try:
            module = function(shape, n_classes, **options)
            if not isinstance(module, nn.Module):
                told = f"must return an nn.Module, got {type(module).__name__}"
                raise ModelError(f"model {self.reference!r} {told}")
            with torch.no_grad():
                logits = module.eval()(torch.zeros(2, *shape))
        except ModelError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ModelError(f"model {self.reference!r} raised {told} on shape {shape}") from error
        if not isinstance(logits, torch.Tensor):
            told = f"must give a tensor of logits, got {type(logits).__name__}"
            raise ModelError(f"model {self.reference!r} {told}")
        if tuple(logits.shape) != (2, n_classes):
            law = f"must give logits of shape (n, {n_classes})"
            raise ModelError(f"model {self.reference!r} {law}, got {tuple(logits.shape)} for n = 2")
        return module.train()


MODELS: dict[str, type[Any]] = {
    "thesis_cnn": ThesisCnn,
    "mnist_cnn": MnistCnn,
    "softmax": Softmax,
    "mlp": Mlp,
}


def model(spec: Mapping[str, Any]) -> Model:
    """Return the model that a space names, with its parameters checked."""
    given = dict(spec)
    name = given.pop("name")
    if is_reference(name):
        return UserModel(reference=name, parameters=given)
    built: Model = build(lookup(MODELS, name, "model"), given)
    return built


def complete(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``spec`` with every default of its model filled in."""
    built = model(spec)
    if isinstance(built, UserModel):
        return dict(spec)
    return {"name": spec["name"], **{key: getattr(built, key) for key in fields(type(built))}}
