"""One axis of a search space: the values that a setting takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from math import exp, floor, isfinite, log, log10
from typing import Annotated, Any, Self

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = float | int | str

MOST_VALUES = 10_000
"""The most values of an axis, and the most settings of all scenarios, that a space may list."""

MOST_WHOLE = 2**53
"""The largest whole number up to which every whole number is a float."""

SMALLEST_LOW = 1e-9
"""Values of a log axis that begins lower are rounded to 12 digits, and others to 12 decimals."""


class Axis(BaseModel):
    """A range from ``low`` to ``high``, or a list of ``values``.

    ``log`` draws from the range on a logarithmic scale, and ``points`` makes it a grid. ``or`` is
    one extra value outside the range, usually "off". Half of all random proposals take it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    low: Annotated[int | float | None, Field(description="lower end of a range")] = None
    high: Annotated[int | float | None, Field(description="upper end of a range")] = None
    log: Annotated[bool, Field(description="draw from the range on a logarithmic scale")] = False
    points: Annotated[
        Annotated[int, Ge(2), Le(MOST_VALUES)] | None,
        Field(description="make a grid of so many values of the range, both ends included"),
    ] = None
    values: Annotated[
        tuple[Any, ...] | None, Field(description="the values to choose from, in place of a range")
    ] = None
    otherwise: float | str | None = Field(
        None,
        alias="or",
        description='one more value, usually that of "off"; half of the random draws take it',
    )

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        if self.values is None:
            self._check_range()
            return self

        if self.low is not None or self.high is not None or self.points is not None:
            raise ValueError("give `values`, or `low` and `high`, not both")
        if not self.values:
            raise ValueError("`values` must hold at least one value")
        if len(self.values) > MOST_VALUES:
            raise ValueError(
                f"`values` must hold at most {MOST_VALUES:,} values, got {len(self.values):,}"
            )
        return self

    def _check_range(self) -> None:
        if self.low is None or self.high is None:
            raise ValueError("an axis needs `low` and `high`, or `values: [...]`")

        if not (_is_finite(self.low) and _is_finite(self.high)):
            raise ValueError(
                f"`low` and `high` must be finite, got {self.low!s:.40}, {self.high!s:.40}; "
                "end the range and add `or: .inf`"
            )
        if self.is_whole and max(abs(self.low), abs(self.high)) > MOST_WHOLE:
            raise ValueError(
                f"whole numbers of a range must be at most 2**53 = {MOST_WHOLE:,}, as proposals "
                f"are floats, got {self.low} and {self.high}; lower the ends, or list `values`"
            )
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(
                f"`low` of a log axis must be > 0, got {self.low}; start above 0 and add `or: 0`"
            )

    def choices(self) -> list[Value] | None:
        """Return every value of a finite axis, or None for a continuous one."""
        if self.values is not None:
            choices = list(self.values)
        elif self.points is not None:
            choices = [self._interpolate(i / (self.points - 1)) for i in range(self.points)]
        else:
            return None
        return choices if self.otherwise is None else [*choices, self.otherwise]

    def value_at(self, u: float) -> Value:
        """Return the value at ``u`` in [0, 1). If there is an ``or``, it has the first half.

        >>> Axis(low=1, high=100, log=True).value_at(0.5)
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
        return self._interpolate(u)

    def contains(self, value: Any) -> bool:
        """Return whether ``value`` lies on the axis. The baseline's value may not."""
        choices = self.choices()
        if choices is not None:
            return value in choices
        if self.otherwise is not None and value == self.otherwise:
            return True
        return isinstance(value, int | float) and (self.low or 0) <= value <= (self.high or 0)

    @property
    def is_whole(self) -> bool:
        """Whether both ends of the range are whole numbers, written without a decimal point."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def extremes(self) -> list[Value]:
        """Return the values that must be valid for the whole axis to be valid."""
        choices = self.choices()
        if choices is not None:
            return choices
        ends: list[Value] = [self._interpolate(0.0), self._interpolate(1.0)]
        return ends if self.otherwise is None else [*ends, self.otherwise]

    def _interpolate(self, u: float) -> float:
        low, high = float(self.low or 0.0), float(self.high or 0.0)
        if u in (0.0, 1.0):
            return high if u else low
        if self.log:
            value = exp(log(low) + u * (log(high) - log(low)))
            decimals = 12 if low >= SMALLEST_LOW else 12 - floor(log10(value))
            return min(max(low, round(value, decimals)), high)
        return low + u * (high - low)


def _is_finite(number: float) -> bool:
    """Return whether a number is finite as a float; a whole number may have too many digits."""
    try:
        return isfinite(number)
    except OverflowError:
        return False


def grid(axes: Mapping[str, Axis]) -> Iterator[dict[str, Value]]:
    """Yield every combination of the axes' values; the last axis changes fastest."""
    choices = [axis.choices() or [] for axis in axes.values()]
    for combination in itertools.product(*choices):
        yield dict(zip(axes, combination, strict=True))
