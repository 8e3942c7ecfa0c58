"""Named settings of a space: a scenario is a mapping from axes to a value, or to several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from raysweep.errors import SpaceError


def checked(given: Any) -> dict[str, dict[str, Any]]:
    """Return name -> axis -> value or list of values; raise :class:`SpaceError` for another form.

    An empty mapping is the baseline under a name.
    """
    if not isinstance(given, dict):
        law = "`scenarios` must be a mapping of names, such as {dp2: {epsilon: 2}}"
        raise SpaceError(f"{law}, got {given!r}", place=["scenarios"])
    for name, settings in given.items():
        if not isinstance(settings, dict):
            law = "a scenario is a mapping of axes to values, such as {epsilon: 2}"
            raise SpaceError(f"{law}, got {settings!r}", place=["scenarios", name])
        for key, values in settings.items():
            if values == []:
                law = "must have at least one value, got []"
                raise SpaceError(f"`{key}` {law}", place=["scenarios", name, key])
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
