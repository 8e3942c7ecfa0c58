"""A search space: YAML -> axes -> configurations, with every law checked before anything runs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from raysweep import attacks as blocks
from raysweep import attacks as membership
from raysweep import data, defences, models
from raysweep.config import Training, TrialConfig
from raysweep.config.registry import build, suggestion
from raysweep.errors import SpaceError
from raysweep.space import scenarios
from raysweep.space.axes import Axis, grid
from raysweep.space.settings import Pruning, Resources, Sampler


@dataclass(frozen=True, kw_only=True)
class Space:
    """A checked search space. ``document`` is what the user wrote, as plain values."""

    document: dict[str, Any]
    name: str
    axes: dict[str, Axis]
    scenarios: dict[str, dict[str, Any]]
    objectives: dict[str, Literal["max", "min"]]
    sampler: Sampler
    pruning: Pruning | None
    resources: Resources
    seed: int

    def config(self, values: Mapping[str, Any] | None = None) -> TrialConfig:
        """Return the configuration at ``values`` (axis -> value); other axes are neutral."""
        document = copy.deepcopy(self.document)
        for key, value in (values or {}).items():
            _check_axis_name(key, ())
            _place(document, key, self._rounded(key, value))
        return _complete(document)

    def _rounded(self, key: str, value: Any) -> Any:
        """Return ``value``, whole where what counts something ranges between whole numbers."""
        axis = self.axes.get(key)
        is_count = key in defences.WHOLE or key not in defences.known_keys()
        counts = axis is not None and axis.is_whole and is_count
        return round(value) if counts and isinstance(value, float) else value

    def baseline(self) -> TrialConfig:
        """Return the undefended configuration: the anchor of every comparison."""
        return _complete({**copy.deepcopy(self.document), "defences": {}})

    def named(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (scenario, axis -> value): defences that a scenario does not name are as fixed.

        With the grid sampler each is repeated for all values of the axes that are no defences.
        """
        others = {k: axis for k, axis in self.axes.items() if k not in defences.known_keys()}
        for name, values in scenarios.points(self.scenarios):
            free = {k: axis for k, axis in others.items() if k not in values}
            for around in grid(free) if self.sampler.name == "grid" else [{}]:
                yield name, {**around, **values}

    def extremes(self) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        """Yield (place, axis -> value) of the configurations at which a law would break first.

        As fixed; each axis at its ends and between; all axes at once, at either end that is not
        neutral; every scenario.
        """
        yield ("defences",), {}
        for key, axis in self.axes.items():
            for value in (*axis.extremes(), axis.at(0.7)):
                yield ("search", key), {key: value}
        neutral = defences.neutral()
        for end in (0, -1) if len(self.axes) > 1 else ():
            ends = {
                key: ([v for v in axis.extremes() if v != neutral.get(key)] or axis.extremes())[end]
                for key, axis in self.axes.items()
            }
            yield ("search",), ends
        for name, values in scenarios.points(self.scenarios):
            yield ("scenarios", name), values

    def rungs(self) -> tuple[int, ...]:
        """Return the epochs after which trials are compared; empty without pruning."""
        if self.pruning is None:
            return ()
        axis = self.axes.get("training.epochs")
        ends = [{}] if axis is None else [{"training.epochs": v} for v in axis.extremes()]
        longest = max(self.config(values).training.epochs for values in ends)
        return self.pruning.epochs(longest)

    def size(self) -> int | None:
        """Return how many grid points the axes have, or None when one is continuous."""
        choices = [axis.choices() for axis in self.axes.values()]
        return None if None in choices else prod(len(c) for c in choices if c is not None)

    def resolved(self) -> dict[str, Any]:
        """Return the whole space as plain values with every default filled in."""
        config = self.config()
        pruning = {} if self.pruning is None else {"pruning": dataclasses.asdict(self.pruning)}
        return {
            "name": self.name,
            "dataset": self._block("dataset", config.dataset),
            "model": self._block("model", config.model),
            "training": dataclasses.asdict(config.training),
            "defences": copy.deepcopy(self.document.get("defences") or {}),
            "search": {key: _axis_values(axis) for key, axis in self.axes.items()},
            **({"scenarios": copy.deepcopy(self.scenarios)} if self.scenarios else {}),
            "attacks": config.attacks,
            "objectives": dict(self.objectives),
            "sampler": dataclasses.asdict(self.sampler),
            **pruning,
            "resources": dataclasses.asdict(self.resources),
            "seed": self.seed,
        }

    def _block(self, block: str, complete: dict[str, Any]) -> dict[str, Any]:
        """Return ``complete``, or what was written where an axis may change what it means."""
        varies = any(key.startswith(f"{block}.") for key in self.axes)
        return copy.deepcopy(self.document[block]) if varies else complete


def fixed_space(config: TrialConfig, name: str, objectives: Mapping[str, str]) -> dict[str, Any]:
    """Return a space without axes that holds ``config`` alone, as plain values."""
    document = dataclasses.asdict(config)
    for block in ("dataset", "model"):
        document[block] = {"name": document[block].pop("name"), **document[block]}
    document["training"]["private"] = {
        key: value for key, value in document["training"]["private"].items() if value is not None
    }
    return {"name": name, **document, "search": {}, "objectives": dict(objectives)}


def _axis_values(axis: Axis) -> dict[str, Any]:
    return axis.model_dump(by_alias=True, exclude_none=True)


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpaceError(f"`seed` must be a whole number >= 0, got {value!r}", place=["seed"])
    return value


def _complete(document: Mapping[str, Any]) -> TrialConfig:
    """Return the configuration that the fixed part of ``document`` describes."""
    parts: dict[str, Any] = {}
    fillers = {
        "dataset": lambda given: data.describe(given)[2],
        "model": models.complete,
        "training": lambda given: build(Training, given),
        "defences": defences.complete,
        "attacks": blocks.attacks,
    }
    for key, fill in fillers.items():
        given = document.get(key) or {}
        if not isinstance(given, dict):
            raise SpaceError(f"`{key}` must be a mapping, got {given!r}", place=[key])
        try:
            parts[key] = fill(given)
        except SpaceError as error:
            raise error.under(key) from None
    try:
        parts["defences"] = defences.within(parts["defences"], parts["training"])
    except SpaceError as error:
        raise error.under("defences") from None
    membership.other_datasets(parts["attacks"], parts["dataset"])
    return TrialConfig(**parts, seed=_seed(document.get("seed", 0)))


def _check_axis_name(key: str, place: Sequence[str]) -> None:
    block = key.partition(".")[0]
    if key == "seed" or ("." in key and block in ("dataset", "model", "training", "attacks")):
        return
    if key not in defences.known_keys():
        names = [*defences.known_keys(), "seed"]
        hint = suggestion(key, names)
        told = "or a dotted key such as training.learning_rate"
        raise SpaceError(f"unknown axis {key!r}{hint}; {told}", place=place)


def _place(document: dict[str, Any], key: str, value: Any) -> tuple[str, ...]:
    """Set a dotted key and return its place; a bare key that is a defence's is of ``defences``."""
    path = key.split(".")
    if len(path) == 1 and key in defences.known_keys():
        path = ["defences", key]
    inner = document
    for part in path[:-1]:
        if not isinstance(inner.get(part), dict):
            listed = inner.get(part)
            inner[part] = {key_0: {} for key_0 in listed} if isinstance(listed, list) else {}
        inner = inner[part]
    inner[path[-1]] = value
    return tuple(path)
