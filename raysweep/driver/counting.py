"""Count the distinct trials of a search space by arithmetic."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from raysweep import defences
from raysweep.defences.early_stopping import EarlyStopping
from raysweep.records.trial_config import TrialConfig
from raysweep.space.axes import Value
from raysweep.space.space import Space

LARGEST_RANGE = 100_000
"""A range of more whole numbers counts as infinite."""

LARGEST_GROUP = 1_000
"""If more combinations of axes decide one part, equal ones among them are not looked for."""

TRAINING_LENGTH = "epochs and early stopping"
"""One part of a configuration, because stopping after the last epoch means not stopping early."""

Values = Mapping[str, Sequence[Value]]


def count_trials(space: Space, asked: int) -> int:
    """Return how many records a sweep of ``asked`` trials ends with: at most the space's size.

    The size is exact unless more than LARGEST_GROUP combinations of axes decide one part of a
    configuration, such as its model. Then equal combinations are counted more than once, and the
    sweep ends before that count, when nothing new can be proposed.
    """
    values = finite_values(space)
    if values is None:
        return asked

    grid = _Grid(space, values)
    named = [space.baseline(), *(space.config(point) for _, point in space.scenario_points())]
    off_grid = {config.trial_id for config in named if not grid.holds(config)}
    return min(asked, grid.size + len(off_grid))


def finite_values(space: Space) -> dict[str, Sequence[Value]] | None:
    """Return axis -> every value that it takes, None when an axis takes infinitely many."""
    finite: dict[str, Sequence[Value]] = {}
    for key, axis in space.axes.items():
        values: Sequence[Value] | None = axis.choices()
        if values is None and space.is_whole(key):
            values = range(int(axis.low or 0), int(axis.high or 0) + 1)
            if axis.otherwise is not None and len(values) <= LARGEST_RANGE:
                values = [*values, axis.otherwise]
        if values is None or len(values) > LARGEST_RANGE:
            return None
        finite[key] = values
    return finite


def combinations(values: Values) -> Iterator[dict[str, Value]]:
    """Yield axis -> value for every combination, the last axis changing fastest."""
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def n_combinations(values: Values) -> int:
    """Return how many combinations of the axes' values there are."""
    return prod(len(choices) for choices in values.values())


class _Grid:
    """The configurations of a finite space, as the distinct values of each of their parts.

    Axes that decide different parts of a configuration are independent of each other, so the
    number of distinct configurations is the product over the parts.
    """

    def __init__(self, space: Space, values: Values) -> None:
        self._space = space
        self._first = {key: choices[0] for key, choices in values.items()}
        self._fixed = _parts(space.config(self._first))

        groups: dict[str, dict[str, Sequence[Value]]] = {}
        for key, choices in values.items():
            groups.setdefault(_part_of(key), {})[key] = choices
        self._distinct = {
            part: self._distinct_values(part, combinations(group))
            for part, group in groups.items()
            if n_combinations(group) <= LARGEST_GROUP
        }
        self._is_exact = self._distinct.keys() == groups.keys()
        self.size = prod(
            len(self._distinct[part]) if part in self._distinct else n_combinations(group)
            for part, group in groups.items()
        )

    def _distinct_values(self, part: str, points: Iterable[Mapping[str, Value]]) -> set[str]:
        configs = (self._space.config({**self._first, **point}) for point in points)
        return {_parts(config)[part] for config in configs}

    def holds(self, config: TrialConfig) -> bool:
        """Return whether a configuration is on the grid; False where that is not known."""
        return self._is_exact and all(
            value in self._distinct.get(part, {self._fixed[part]})
            for part, value in _parts(config).items()
        )


def _part_of(key: str) -> str:
    """Return the part of a configuration that an axis decides, as :func:`_parts` names it."""
    if key in ("training.epochs", "early_stopping"):
        return TRAINING_LENGTH
    part = defences.part_of(key)
    if part is not None:
        return part

    block, _, rest = key.partition(".")
    return f"training.{rest.partition('.')[0]}" if block == "training" else block


def _parts(config: TrialConfig) -> dict[str, str]:
    """Return the independent parts of a configuration as JSON; each setting is in one part."""
    parts: dict[str, Any] = json.loads(config.to_json())
    del parts["defences"]
    parts |= {f"training.{key}": value for key, value in parts.pop("training").items()}
    parts |= dict(config.defences.parts())

    length = [parts.pop("training.epochs"), parts.pop(EarlyStopping.__name__)]
    parts[TRAINING_LENGTH] = length
    return {name: json.dumps(part, sort_keys=True) for name, part in parts.items()}
