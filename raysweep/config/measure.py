"""The `measure` block of a space: on how many models, and with which canaries."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Ge, Le
from pydantic import Field
from pydantic.dataclasses import dataclass

LEAST_MODELS = 4

MOST_MODELS = 1024

AccuracyOn = Literal["validation", "test"]


LEAST_CANARIES = 20  # so that ten of them are in each model

Count = Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Canaries:
    """How many examples of each kind are put among those that models train on.

    Each of them is in half of the models. They take the places of ordinary examples, and a
    duplicated one takes two.
    """

    mislabelled: Annotated[Count, Field(description="examples with a wrong label")] = 0
    out_of_distribution: Annotated[
        Count, Field(description="examples whose features or pixels are in a random order")
    ] = 0
    duplicated: Annotated[Count, Field(description="examples that are in the data twice")] = 0

    @property
    def counts(self) -> dict[str, int]:
        """The kinds that are asked for, each with the number of its canaries."""
        return {kind: count for kind, count in dataclasses.asdict(self).items() if count}

    @property
    def places(self) -> int:
        """How many examples the canaries replace."""
        return self.mislabelled + self.out_of_distribution + 2 * self.duplicated

    @pydantic.field_validator("mislabelled", "out_of_distribution", "duplicated")
    @classmethod
    def _halves(cls, count: int) -> int:
        if count and (count % 2 or count < LEAST_CANARIES):
            raise ValueError(
                f"canaries of a kind are 0, or even and at least {LEAST_CANARIES}, because half of "
                f"them are in each model, got {count}"
            )
        return count


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a recipe is measured, beyond the one model of a trial.

    ``models`` models are trained, each on half of the same examples, and each is attacked with the
    others as its references. Their accuracy is that on the examples of ``accuracy_on``: the test
    split is for a last look at configurations that were chosen by their validation accuracy.
    ``inversion_models`` of them are attacked by inversion, too.
    With ``canaries`` as many models again are trained, for the figures of canaries alone.
    """

    models: Annotated[
        int,
        Le(MOST_MODELS),
        Field(description="models of each configuration: even, at least 4"),
    ]
    accuracy_on: Annotated[
        AccuracyOn, Field(description="split on which `accuracy` is measured")
    ] = "validation"
    inversion_models: Annotated[
        int,
        Le(MOST_MODELS),
        Field(description="models that inversion is judged on: 1, or even and at least 4"),
    ] = 1
    canaries: Annotated[
        Canaries, Field(description="examples that are put among the training data, by kind")
    ] = dataclasses.field(default_factory=Canaries)

    @property
    def settings(self) -> dict[str, Any]:
        """The block as plain values, without what is at its default but ``models``."""
        counts = self.canaries.counts
        return {
            "models": self.models,
            **({} if self.accuracy_on == "validation" else {"accuracy_on": self.accuracy_on}),
            **({} if self.inversion_models == 1 else {"inversion_models": self.inversion_models}),
            **({"canaries": counts} if counts else {}),
        }

    @pydantic.model_validator(mode="before")
    @classmethod
    def _canaries_need_models(cls, given: Any) -> Any:
        if isinstance(given, dict) and "canaries" in given and given.get("models") is None:
            raise ValueError(
                "`canaries` are put into the models of a recipe: set `models` too, for instance "
                "to 16"
            )
        return given

    @pydantic.field_validator("inversion_models")
    @classmethod
    def _one_or_pairs(cls, number: int) -> int:
        if number != 1 and (number < LEAST_MODELS or number % 2):
            raise ValueError(
                f"`inversion_models` must be 1, or even and at least {LEAST_MODELS}, got {number}: "
                "models come in pairs, and one pair gives no interval"
            )
        return number

    @pydantic.model_validator(mode="after")
    def _no_more_than_models(self) -> Measure:
        if self.inversion_models > self.models:
            raise ValueError(
                f"`inversion_models` must be at most `models`, {self.models}, got "
                f"{self.inversion_models}"
            )
        return self

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
