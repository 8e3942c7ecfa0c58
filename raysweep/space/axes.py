"""What varies: one axis of a search space, from [0, 1) to a value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from math import exp, isfinite, log
from typing import Annotated, Any, Self

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = float | int | str


class Axis(BaseModel):
    """``low`` to ``high`` (``log`` where factors count), or ``values``; ``or`` is a way out.

    ``or`` is the value of "without", taken in half of all random proposals. ``points`` makes a
    range a grid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    points: Annotated[int, Ge(2)] | None = None
    values: tuple[Any, ...] | None = None
    otherwise: float | str | None = Field(None, alias="or")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.values is not None:
            if self.low is not None or self.high is not None or self.points is not None:
                raise ValueError("give `values`, or `low` and `high`, not both")
            if not self.values:
                raise ValueError("`values` must hold at least one value")
            return self
        if self.low is None or self.high is None:
            raise ValueError("an axis needs `low` and `high`, or `values: [...]`")
        if not (isfinite(self.low) and isfinite(self.high)):
            remedy = "end the range and add `or: .inf`"
            raise ValueError(
                f"`low` and `high` must be finite, got {self.low}, {self.high}; {remedy}"
            )
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            remedy = "start above 0 and add `or: 0`"
            raise ValueError(f"`low` of a log axis must be > 0, got {self.low}; {remedy}")
        return self

    def choices(self) -> list[Value] | None:
        """Return every value of a finite axis, or None for a continuous one."""
        found: list[Value] | None = None
        if self.values is not None:
            found = list(self.values)
        elif self.points is not None:
            found = [self._within(i / (self.points - 1)) for i in range(self.points)]
        if found is not None and self.otherwise is not None:
            found.append(self.otherwise)
        return found

    def at(self, u: float) -> Value:
        """Return the value at ``u`` in [0, 1); the first half is ``or`` where there is one.

        >>> Axis(low=1, high=100, log=True).at(0.5)
        10.0
        """
        choices = self.choices()
        if choices is not None and self.otherwise is None:
            return choices[int(u * len(choices))]
        if self.otherwise is not None:
            if u < 0.5:
                return self.otherwise
            u = 2 * u - 1
        if choices is not None:
            return choices[int(u * (len(choices) - 1))]
        return self._within(u)

    def holds(self, value: Any) -> bool:
        """Return whether ``value`` lies on the axis; the baseline's may not."""
        choices = self.choices()
        if choices is not None:
            return value in choices
        if self.otherwise is not None and value == self.otherwise:
            return True
        return isinstance(value, int | float) and (self.low or 0) <= value <= (self.high or 0)

    @property
    def is_whole(self) -> bool:
        """Whether it is a range between two numbers that are written without a point."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def extremes(self) -> list[Value]:
        """Return the values that must obey the laws for all of the axis to obey them."""
        choices = self.choices()
        if choices is not None:
            return choices
        ends: list[Value] = [self._within(0.0), self._within(1.0)]
        return ends if self.otherwise is None else [*ends, self.otherwise]

    def _within(self, u: float) -> float:
        low, high = float(self.low or 0.0), float(self.high or 0.0)
        if u in (0.0, 1.0):
            return high if u else low
        if self.log:
            return round(exp(log(low) + u * (log(high) - log(low))), 12)
        return low + u * (high - low)


def grid(axes: Mapping[str, Axis]) -> Iterator[dict[str, Value]]:
    """Yield every combination of the axes' values, the last axis turning fastest."""
    choices = [axis.choices() or [] for axis in axes.values()]
    for combination in itertools.product(*choices):
        yield dict(zip(axes, combination, strict=True))
