"""The `training` block of a space: how a target is trained."""

from __future__ import annotations

from dataclasses import asdict, field, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from pydantic.dataclasses import dataclass

Positive = Annotated[float, Gt(0)]

Optimizer = Literal["sgd", "adam", "amsgrad"]


@dataclass(frozen=True, kw_only=True)
class PrivateTraining:
    """Settings that replace those of ``training`` under DP-SGD. An absent key stays as it is."""

    batch_size: Annotated[int, Gt(0)] | None = None
    optimizer: Optimizer | None = None
    learning_rate: Positive | None = None
    momentum: Annotated[float, Ge(0), Lt(1)] | None = None
    weight_decay: Annotated[float, Ge(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a target is trained. Under DP-SGD the settings in ``private`` replace these.

    The number of epochs is the same with and without DP-SGD. ``amsgrad`` is the variant of Adam by
    Reddi et al. 2018. ``weight_decay`` (gradient lambda W on every parameter) is part of the
    undefended training too, and the defence ``l2`` adds to it. ``bf16`` runs the model's layers in
    bfloat16 while parameters, clipping, noise and optimizer steps stay float32.
    """

    epochs: Annotated[int, Gt(0)] = 30
    batch_size: Annotated[int, Gt(0)] = 64
    optimizer: Optimizer = "adam"
    learning_rate: Positive = 1e-3
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    weight_decay: Annotated[float, Ge(0)] = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    private: PrivateTraining = field(default_factory=PrivateTraining)

    def as_private(self) -> Training:
        """Return the settings that DP-SGD trains with."""
        given = {key: value for key, value in asdict(self.private).items() if value is not None}
        return replace(self, **given)
