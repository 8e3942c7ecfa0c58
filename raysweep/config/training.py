"""The `training` block of a space: how a target is trained."""

from __future__ import annotations

from dataclasses import asdict, field, replace
from math import ceil
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

Positive = Annotated[float, Gt(0)]

Optimizer = Literal["sgd", "adam", "amsgrad"]


@dataclass(frozen=True, kw_only=True)
class PrivateTraining:
    """Settings that replace those of ``training`` under DP-SGD. The value None replaces nothing.

    ``expected_batch`` and ``sample_rate`` together replace ``batch_size``: the divisor of the noisy
    sum and the rate at which members are sampled are then constants, as are the steps, and no
    longer follow the number of members. The guarantee is then for adding or removing one record.
    """

    batch_size: Annotated[
        Annotated[int, Gt(0)] | None,
        Field(description="mean size of a batch; batches are Poisson samples"),
    ] = None
    optimizer: Annotated[Optimizer | None, Field(description="optimizer of DP-SGD's steps")] = None
    learning_rate: Annotated[
        Positive | None, Field(description="learning rate of DP-SGD's steps")
    ] = None
    momentum: Annotated[
        Annotated[float, Ge(0), Lt(1)] | None, Field(description="momentum of `sgd`")
    ] = None
    weight_decay: Annotated[
        Annotated[float, Ge(0)] | None,
        Field(description="lambda of the gradient lambda W on every parameter"),
    ] = None
    expected_batch: Annotated[
        Annotated[int, Gt(0)] | None,
        Field(description="constant divisor of the noisy sum, with `sample_rate`"),
    ] = None
    sample_rate: Annotated[
        Annotated[float, Gt(0), Le(1)] | None,
        Field(description="constant chance of a member to be in a batch, with `expected_batch`"),
    ] = None

    @model_validator(mode="after")
    def _check_constants(self) -> Self:
        if (self.expected_batch is None) != (self.sample_rate is None):
            given = "expected_batch" if self.sample_rate is None else "sample_rate"
            raise ValueError(
                f"`{given}` is given without its companion: a constant divisor needs a constant "
                "rate; give both `expected_batch` and `sample_rate`"
            )
        if self.expected_batch is not None and self.batch_size is not None:
            raise ValueError(
                "`batch_size` is given beside `expected_batch` and `sample_rate`, which replace "
                f"it; leave one out, got {self.batch_size}"
            )
        return self

    @property
    def neighbours(self) -> str:
        """``add_remove`` where nothing follows the number of members, otherwise ``zero_out``."""
        return "zero_out" if self.sample_rate is None else "add_remove"


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a target is trained. Under DP-SGD the settings in ``private`` replace these.

    The number of epochs is the same with and without DP-SGD. ``amsgrad`` is the variant of Adam by
    Reddi et al. 2018. ``weight_decay`` (gradient lambda W on every parameter) is part of the
    undefended training too, and the defence ``l2`` adds to it. ``bf16`` runs the model's layers in
    bfloat16 while parameters, clipping, noise and optimizer steps stay float32.
    """

    epochs: Annotated[
        int, Gt(0), Field(description="passes over the members, with and without DP-SGD")
    ] = 30
    batch_size: Annotated[int, Gt(0), Field(description="members in a batch")] = 64
    optimizer: Annotated[
        Optimizer, Field(description="`amsgrad` is Adam as in Reddi et al. 2018")
    ] = "adam"
    learning_rate: Annotated[
        Positive, Field(description="learning rate of the optimizer; it stays constant")
    ] = 1e-3
    momentum: Annotated[
        float, Ge(0), Lt(1), Field(description="momentum of `sgd`; the others ignore it")
    ] = 0.0
    weight_decay: Annotated[
        float, Ge(0), Field(description="lambda of the gradient lambda W on every parameter")
    ] = 0.0
    precision: Annotated[
        Literal["fp32", "bf16"], Field(description="`bf16` runs the model's own layers in bfloat16")
    ] = "fp32"
    private: Annotated[
        PrivateTraining, Field(description="settings that replace these keys under DP-SGD")
    ] = field(default_factory=PrivateTraining)

    def as_private(self) -> Training:
        """Return the settings that DP-SGD trains with."""
        stated = {key: value for key, value in asdict(self.private).items() if value is not None}
        if stated.pop("sample_rate", None) is not None:
            stated["batch_size"] = stated.pop("expected_batch")
        return replace(self, **stated)

    def private_rate(self, n: int) -> float:
        """Return the chance of each of ``n`` members to be in a batch of DP-SGD."""
        constant = self.private.sample_rate
        return constant or 1 / ceil(n / self.as_private().batch_size)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting as plain values, those that were added later only where they are given."""
        private = asdict(self.private)
        for key in ADDED_LATER:
            if private[key] is None:
                del private[key]
        return {**asdict(self), "private": private}


ADDED_LATER = ("expected_batch", "sample_rate")
"""Keys of ``private`` that stand in no configuration that leaves them out: its hash, the name of
its trials, stays that of earlier records."""

PRIVATE_DEFAULTS = PrivateTraining(
    batch_size=1024, optimizer="sgd", learning_rate=0.5, momentum=0.9
)
"""What a space with DP-SGD uses if it has no ``training.private``: see docs/benchmarks.md.

A batch of so many members is a batch of all of them in a small data set: fewer steps, less noise.

A configuration states its settings, so this is filled in where a space is read, and nowhere else.
"""
