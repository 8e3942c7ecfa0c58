"""The `measure` block of a space: how many models each configuration is measured on."""

from __future__ import annotations

from typing import Annotated

import pydantic
from annotated_types import Le
from pydantic import Field
from pydantic.dataclasses import dataclass

LEAST_MODELS = 4

MOST_MODELS = 1024


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a recipe is measured, beyond the one model of a trial.

    ``models`` models are trained, each on half of the same examples, and each is attacked with the
    others as its references.
    """

    models: Annotated[
        int,
        Le(MOST_MODELS),
        Field(description="models of each configuration: even, at least 4"),
    ]

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
