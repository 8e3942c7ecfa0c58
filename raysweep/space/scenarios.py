"""Named settings of a space. A scenario maps axes to a value or to several values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from raysweep.errors import SpaceError
from raysweep.space.axes import MOST_VALUES


def parse_scenarios(given: Any) -> dict[str, dict[str, Any]]:
    """Return name -> axis -> value or list of values. An empty mapping is the baseline.

    Raises:
        SpaceError: ``given`` has another form.

    """
    if not isinstance(given, dict):
        rule = "`scenarios` must be a mapping of names, such as {dp2: {target_epsilon: 2}}"
        raise SpaceError(rule, got=given, place=["scenarios"])

    n_points = 0
    for name, settings in given.items():
        if not isinstance(settings, dict):
            rule = "a scenario is a mapping of axes to values, such as {target_epsilon: 2}"
            raise SpaceError(rule, got=settings, place=["scenarios", name])
        for key, values in settings.items():
            if values == []:
                rule = f"`{key}` must have at least one value"
                raise SpaceError(rule, got=[], place=["scenarios", name, key])

        n_points += prod(len(v) for v in settings.values() if isinstance(v, list))
        if n_points > MOST_VALUES:
            rule = f"all scenarios together must have at most {MOST_VALUES:,} combinations"
            raise SpaceError(rule, got=n_points, place=["scenarios", name])
    return given


def points(scenarios: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, axis -> value) for every combination of each scenario's values.

    >>> list(points({"wd": {"l2": [1e-4, 1e-3]}, "plain": {}}))
    [('wd', {'l2': 0.0001}), ('wd', {'l2': 0.001}), ('plain', {})]
    """
    for name, settings in scenarios.items():
        choices = [v if isinstance(v, list) else [v] for v in settings.values()]
        for combination in itertools.product(*choices):
            yield name, dict(zip(settings, combination, strict=True))
