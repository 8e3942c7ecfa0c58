"""Targets: functions of a shape and a number of classes that return an ``nn.Module`` of logits.

Every module that an attacker may observe is named after its layer (``conv1``, ``pool1`` ...
``output``), activation included. torch is imported when one is built.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from raysweep.config.registry import build, fields, is_reference, lookup, user_function
from raysweep.errors import ModelError
from raysweep.models.convolutional import Conv1, Conv3, MnistCnn, ThesisCnn
from raysweep.models.deep import AlexNet, DenseNet
from raysweep.models.flat import Mlp, RecordMlp, Softmax
from raysweep.models.layers import Shape
from raysweep.models.vgg import Vgg4, Vgg7, Vgg9

if TYPE_CHECKING:
    from torch import nn


class Model(Protocol):
    """Builds a target; ``dropout`` and ``spatial_dropout`` act after each hidden block."""

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return a module from (n, *shape) in [0, 1] to logits (n, n_classes)."""


@plain_dataclass(frozen=True, kw_only=True)
class UserModel:
    """Your own ``package.module:function(shape, n_classes, **parameters) -> nn.Module``."""

    reference: str
    parameters: Mapping[str, Any]

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return what the function returns, shown to give logits (2, n_classes).

        Raises:
            ModelError: it raises, returns something else, or takes no ``dropout`` or
                ``spatial_dropout`` when asked to.

        """
        import torch
        from torch import nn

        function = user_function(self.reference, "model")
        options = dict(self.parameters)
        for key, p in (("dropout", dropout), ("spatial_dropout", spatial_dropout)):
            if p > 0 and key not in inspect.signature(function).parameters:
                remedy = f"give the function a `{key}` parameter, or leave {key} out of the space"
                raise ModelError(f"model {self.reference!r} cannot have {key} {p}: {remedy}")
            options |= {key: p} if p > 0 else {}
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
    "conv1": Conv1,
    "conv3": Conv3,
    "record_mlp": RecordMlp,
    "vgg4": Vgg4,
    "vgg7": Vgg7,
    "vgg9": Vgg9,
    "alexnet": AlexNet,
    "densenet": DenseNet,
}


@plain_dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model with the name by which a space chooses it, its parameters checked."""

    name: str
    model: Model

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> NamedModel:
        """Return the model of a space's ``model`` block.

        Raises:
            SpaceError: an unknown name or key, or a value that breaks a rule.

        """
        given = dict(settings)
        name = given.pop("name")
        if is_reference(name):
            return cls(name=name, model=UserModel(reference=name, parameters=given))
        return cls(name=name, model=build(lookup(MODELS, name, "model"), given))

    @property
    def is_users(self) -> bool:
        """Whether it is a function of the user's own."""
        return isinstance(self.model, UserModel)

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The whole ``model`` block as plain values, every default filled in."""
        if isinstance(self.model, UserModel):
            return {"name": self.name, **self.model.parameters}
        parameters = {key: getattr(self.model, key) for key in fields(type(self.model))}
        return {"name": self.name, **parameters}
