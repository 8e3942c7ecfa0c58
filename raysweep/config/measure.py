"""The `measure` block of a space: how many models each configuration is measured on."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Le
from pydantic import Field
from pydantic.dataclasses import dataclass

LEAST_MODELS = 4

MOST_MODELS = 1024

AccuracyOn = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a recipe is measured, beyond the one model of a trial.

    ``models`` models are trained, each on half of the same examples, and each is attacked with the
    others as its references. Their accuracy is that on the examples of ``accuracy_on``: the test
    split is for a last look at configurations that were chosen by their validation accuracy.
    """

    models: Annotated[
        int,
        Le(MOST_MODELS),
        Field(description="models of each configuration: even, at least 4"),
    ]
    accuracy_on: Annotated[
        AccuracyOn, Field(description="split on which `accuracy` is measured")
    ] = "validation"

    @property
    def settings(self) -> dict[str, Any]:
        """The block as plain values, without ``accuracy_on`` where it is the default."""
        values = dataclasses.asdict(self)
        return {k: v for k, v in values.items() if (k, v) != ("accuracy_on", "validation")}

    @pydantic.field_validator("models")
    @classmethod
    def _pairs(cls, models: int) -> int:
        if models < LEAST_MODELS:
            raise ValueError(
                f"`models` must be at least {LEAST_MODELS}, got {models}: the model that is "
                "attacked and its complement leave one reference that trained on an example and "
                "one that did not; leave `measure` out for a single model"
            )
        if models % 2:
            raise ValueError(
                f"`models` must be even, got {models}: models come in pairs, each trained on the "
                "half that the other was not trained on"
            )
        return models
