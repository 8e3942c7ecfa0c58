"""The catalogue of target models, and the type for a user's own.

Each model builds an ``nn.Module`` from the shape of an example and the number of classes. Every
module that an attacker may observe is named after its layer (``conv1``, ``pool1`` ... ``output``)
and includes the activation. torch is imported only when a target is built.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from raysweep.config.registry import build, fields, lookup
from raysweep.config.user_errors import text_of, told
from raysweep.config.user_function import is_reference, user_function
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
        """Return a module that maps (n, *shape) in [0, 1] to logits (n, n_classes)."""


@functools.cache
def _built() -> Any:
    """Return the weights that users' functions gave in this process, as long as they exist."""
    from torch.utils.weak import WeakIdKeyDictionary

    return WeakIdKeyDictionary()


@plain_dataclass(frozen=True, kw_only=True)
class UserModel:
    """Your own ``package.module:function(shape, n_classes, **parameters) -> nn.Module``."""

    reference: str
    parameters: Mapping[str, Any]

    def build(
        self, shape: Shape, n_classes: int, *, dropout: float = 0.0, spatial_dropout: float = 0.0
    ) -> nn.Module:
        """Return the module that the function returns, after a trial run on two examples.

        Raises:
            ModelError: the function raises, lacks a parameter for a dropout that is above 0, or
                returns anything but a module of logits with weights of its own.

        """
        from torch import nn

        function = user_function(self.reference, "model")
        options = dict(self.parameters)
        for key, p in (("dropout", dropout), ("spatial_dropout", spatial_dropout)):
            if p > 0:
                self._check_accepts(function, key, p)
                options[key] = p

        try:
            module = function(shape, n_classes, **options)
            logits = _try_out(module, shape) if isinstance(module, nn.Module) else None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, which argparse raises
            raise ModelError(
                f"model {self.reference!r} raised {told(error)} on shape {shape}",
                remedy=_remedy_for_sizes(error, shape),
            ) from error

        if not isinstance(module, nn.Module):
            raise ModelError(
                f"model {self.reference!r} must return an nn.Module, got {type(module).__name__}"
            )
        check_logits(self.reference, logits, (2, n_classes))
        self._check_fresh(module)
        return module.train()

    def _check_fresh(self, module: nn.Module) -> None:
        """Raise :class:`ModelError` for a trainable weight of a module that was built before."""
        built = _built()
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and parameter in built:
                raise ModelError(
                    f"model {self.reference!r} gives the same module twice: its weight {name!r} is "
                    "that of an earlier call, so that a trial would go on from another",
                    remedy="build the module inside the function",
                )
        for parameter in module.parameters():
            built[parameter] = None

    def _check_accepts(self, function: Callable[..., Any], key: str, p: float) -> None:
        """Raise :class:`ModelError` if the function has no parameter ``key``."""
        if key not in inspect.signature(function).parameters:
            raise ModelError(
                f"model {self.reference!r} cannot have {key} {p}",
                remedy=f"give the function a `{key}` parameter, or leave {key} out of the space",
            )


def check_logits(name: str, logits: Any, shape: tuple[int, int], when: str = "") -> None:
    """Raise :class:`ModelError` unless ``logits`` is a tensor of ``shape`` (n, classes)."""
    import torch

    if not isinstance(logits, torch.Tensor):
        raise ModelError(
            f"model {name!r} must give a tensor of logits{when}, got {type(logits).__name__}"
        )
    if tuple(logits.shape) != shape:
        raise ModelError(
            f"model {name!r} must give logits of shape (n, {shape[1]}){when}, "
            f"got {tuple(logits.shape)} for n = {shape[0]}"
        )


def _remedy_for_sizes(error: BaseException, shape: Shape) -> str:
    """Return what to write where a function took the shape for a number; empty for other errors."""
    if not isinstance(error, TypeError) or "tuple" not in text_of(error):
        return ""
    size = "shape[0]" if len(shape) == 1 else "shape[0] for channels, math.prod(shape) for all"
    return f"`shape` is a tuple, {shape} here: use {size}"


def _try_out(module: nn.Module, shape: Shape) -> Any:
    """Return the output of a module in evaluation mode for two examples of zeros."""
    import torch

    with torch.no_grad():
        return module.eval()(torch.zeros(2, *shape))


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
    """A model and its name in the space, with its parameters checked."""

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
    def is_user_function(self) -> bool:
        """Whether it is a user's own function."""
        return isinstance(self.model, UserModel)

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The whole ``model`` block as plain values, every default filled in."""
        if isinstance(self.model, UserModel):
            return {"name": self.name, **self.model.parameters}
        parameters = {key: getattr(self.model, key) for key in fields(type(self.model))}
        return {"name": self.name, **parameters}
