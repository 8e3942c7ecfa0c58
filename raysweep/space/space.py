"""A checked search space, and the configurations in it."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from raysweep import defences
from raysweep.config.own_class import is_own_key, split_key
from raysweep.config.registry import suggestion
from raysweep.config.training import PRIVATE_DEFAULTS, PrivateTraining
from raysweep.errors import SpaceError
from raysweep.records.objectives import Objectives
from raysweep.records.trial_config import TrialConfig
from raysweep.space import scenarios
from raysweep.space.axes import Axis, grid
from raysweep.space.settings import Pruning, Resources, Sampler


@dataclass(frozen=True, kw_only=True)
class Space:
    """A checked search space. ``document`` holds its YAML as plain values."""

    document: dict[str, Any]
    name: str
    axes: dict[str, Axis]
    scenarios: dict[str, dict[str, Any]]
    objectives: Objectives
    sampler: Sampler
    pruning: Pruning | None
    resources: Resources
    seed: int

    def config(self, values: Mapping[str, Any] | None = None) -> TrialConfig:
        """Return the configuration at ``values`` (axis -> value); other axes are neutral."""
        if not values:
            return self._neutral
        present = defences.rename_older(values)
        for key in present:
            check_axis_name(key, ())
        changed = {"defences" if is_own_key(key) else _path(key)[0] for key in present}
        if "training" in changed:
            changed.add("defences")  # early stopping depends on the epochs of training

        document: dict[str, Any] = {block: {} for block in changed}
        document |= {k: v for k, v in self._fixed.items() if k in changed}
        for key, value in present.items():
            counts = self.is_whole(key) and isinstance(value, float)
            value = round(value) if counts else value
            if is_own_key(key):
                document["defences"] = {**document["defences"], key: value}
            else:
                set_key(document, key, value)

        config = TrialConfig.parse(document, parsed=self._neutral)
        if config.defences.is_private and self.lacks_private_training(present):
            training = dataclasses.replace(config.training, private=PRIVATE_DEFAULTS)
            return dataclasses.replace(config, training=training)
        return config

    @functools.cached_property
    def _neutral(self) -> TrialConfig:
        """The configuration in which every axis is neutral."""
        return TrialConfig.parse(self._fixed)

    @property
    def may_be_private(self) -> bool:
        """Whether a configuration of the space may use DP-SGD."""
        neutral = defences.neutral()
        fixed = [self.document.get("defences") or {}]
        named = [values for _, values in scenarios.points(self.scenarios)]
        for key in ("target_epsilon", "noise_multiplier"):
            values = [point[key] for point in (*fixed, *named) if key in point]
            values += self.axes[key].extremes() if key in self.axes else []
            if any(value != neutral[key] for value in values):
                return True
        return False

    def private_settings(self) -> str:
        """Return the settings that DP-SGD trains with as one line; empty without DP-SGD."""
        if not self.may_be_private:
            return ""
        used = self.config().training.as_private()
        names = ("optimizer", "learning_rate", "momentum", "batch_size", "weight_decay")
        line = ", ".join(f"{name} {getattr(used, name)}" for name in names)
        return line + (" (the default of `training.private`)" if self.has_private_defaults else "")

    @property
    def has_private_defaults(self) -> bool:
        """Whether DP-SGD trains with the default of `training.private`."""
        return self.may_be_private and self.config().training.private == PRIVATE_DEFAULTS

    def lacks_private_training(self, varied: Collection[str] = ()) -> bool:
        """Return whether DP-SGD needs the default `training.private`.

        It does not where the space states or varies a setting of DP-SGD, nor where it varies, as
        ``varied`` may, a setting of `training` that the default would replace.
        """
        if "private" in (self.document.get("training") or {}):
            return False
        names = [field.name for field in dataclasses.fields(PrivateTraining)]
        settings = {"training.private", *(f"training.{name}" for name in names)}
        points = [values for _, values in scenarios.points(self.scenarios)]
        keys = {*varied, *self.axes, *(key for point in points for key in point)}
        return not any(key in settings or key.startswith("training.private.") for key in keys)

    @functools.cached_property
    def _fixed(self) -> dict[str, Any]:
        """The blocks of the document that every configuration has."""
        blocks = ("dataset", "model", "training", "attacks", "measure", "seed")
        fixed = {key: self.document[key] for key in blocks if key in self.document}
        given = self.document.get("defences") or {}
        return {**fixed, "defences": {**self._own_neutral, **given}}

    @functools.cached_property
    def _own_neutral(self) -> dict[str, float | str]:
        """Every key of the user's own defences that the space names, at its neutral value."""
        blocks = [self.document.get("defences") or {}, self.axes, *self.scenarios.values()]
        return defences.own_neutral(key for block in blocks for key in block if is_own_key(key))

    def is_whole(self, key: str) -> bool:
        """Return whether the axis ``key`` is a range of whole numbers that count something."""
        axis = self.axes.get(key)
        if axis is None or not axis.is_whole:
            return False
        return defences.is_count(key) or not defences.is_key(key)

    def baseline(self) -> TrialConfig:
        """Return the undefended configuration, to which all others are compared."""
        return TrialConfig.parse({**self._fixed, "defences": self._own_neutral})

    def scenario_points(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (scenario, axis -> value) for every trial of a scenario.

        Defences that a scenario leaves out have their fixed values. With the grid sampler each
        scenario is repeated for all values of the axes that are not defences.
        """
        others = {k: axis for k, axis in self.axes.items() if not defences.is_key(k)}
        for name, values in scenarios.points(self.scenarios):
            free = {k: axis for k, axis in others.items() if k not in values}
            for around in grid(free) if self.sampler.name == "grid" else [{}]:
                yield name, {**around, **values}

    def extremes(self) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        """Yield (place, axis -> value) for configurations that together test the whole space.

        If any configuration breaks a rule, one of these does. They are the fixed one, each axis at
        its ends and between, all axes together at an end that is not neutral, and every scenario.
        """
        yield ("defences",), {}
        for key, axis in self.axes.items():
            for value in (*axis.extremes(), axis.value_at(0.7)):
                yield ("search", key), {key: value}

        neutral = self.baseline().defences
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

    def to_plain(self) -> dict[str, Any]:
        """Return the whole space as plain values with every default filled in."""
        config = self.config()
        scenario_block = {"scenarios": copy.deepcopy(self.scenarios)} if self.scenarios else {}
        pruning = {} if self.pruning is None else {"pruning": dataclasses.asdict(self.pruning)}
        measure = {k: v for k, v in config.settings.items() if k == "measure"}
        limits = [str(condition) for condition in self.objectives.constraints]
        constraints = {"constraints": limits} if limits else {}

        return {
            "name": self.name,
            "dataset": self._block("dataset", config.dataset.settings),
            "model": self._block("model", config.model.settings),
            "training": config.training.settings,
            "defences": copy.deepcopy(self.document.get("defences") or {}),
            "search": {
                key: axis.model_dump(by_alias=True, exclude_none=True)
                for key, axis in self.axes.items()
            },
            **scenario_block,
            "attacks": config.attacks.settings,
            **measure,
            "objectives": self.objectives.to_plain(),
            **constraints,
            "sampler": dataclasses.asdict(self.sampler),
            **pruning,
            "resources": dataclasses.asdict(self.resources),
            "seed": self.seed,
        }

    def _block(self, block: str, complete: dict[str, Any]) -> dict[str, Any]:
        """Return ``complete``, or the block as written if an axis varies one of its keys."""
        varies = any(key.startswith(f"{block}.") for key in self.axes)
        return copy.deepcopy(self.document[block]) if varies else complete


def fixed_space(settings: Mapping[str, Any], name: str, objectives: Objectives) -> dict[str, Any]:
    """Return a space without axes that holds one configuration, as plain values."""
    document = copy.deepcopy(dict(settings))
    private = document["training"].get("private", {})
    document["training"]["private"] = {k: v for k, v in private.items() if v is not None}
    document["defences"] = {key: _whole(key, v) for key, v in document["defences"].items()}
    return {"name": name, **document, "search": {}, "objectives": objectives.to_plain()}


def _whole(key: str, value: Any) -> Any:
    """Return the value of a key of raysweep's defences, as an integer if it counts something."""
    is_whole = key in defences.COUNTS and isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


def check_axis_name(key: str, place: Sequence[str]) -> None:
    """Raise :class:`SpaceError` at ``place`` unless ``key`` can vary."""
    block = key.partition(".")[0]
    if is_own_key(key):
        return
    if key == "seed" or ("." in key and block in ("dataset", "model", "training", "attacks")):
        return
    if key not in defences.all_keys():
        hint = suggestion(key, [*defences.all_keys(), *defences.OLDER_NAMES, "seed"])
        remedy = "or a dotted key such as training.learning_rate, or your own module:Class"
        raise SpaceError(f"unknown axis {key!r}{hint}", remedy=remedy, place=place)


def set_key(document: dict[str, Any], key: str, value: Any) -> tuple[str, ...]:
    """Set a dotted key and return its place. A bare key of a defence belongs to ``defences``.

    The blocks on the way are copied, because other documents may share them.
    """
    path = _path(key)
    inner = document
    for part in path[:-1]:
        block = inner.get(part)
        # A list of attacks' names is shorthand for a mapping without parameters.
        names = block if isinstance(block, list) else ()
        inner[part] = {**block} if isinstance(block, dict) else {name: {} for name in names}
        inner = inner[part]
    inner[path[-1]] = value
    return tuple(path)


def _path(key: str) -> list[str]:
    """Return the place of a dotted key, with present names for older ones.

    >>> _path("epsilon"), _path("search.epsilon.low"), _path("training.epochs")
    (['defences', 'target_epsilon'], ['search', 'target_epsilon', 'low'], ['training', 'epochs'])
    """
    path = split_key(key)
    if len(path) == 1:
        name = defences.OLDER_NAMES.get(key, key)
        return ["defences", name] if defences.is_key(name) else path
    if path[0] in ("defences", "search", "scenarios"):
        return [path[0], *(defences.OLDER_NAMES.get(part, part) for part in path[1:])]
    return path
