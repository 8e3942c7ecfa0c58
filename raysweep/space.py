"""A search space: YAML -> axes -> configurations, with every law checked before anything runs."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from pathlib import Path
from typing import Any, Literal

import pydantic

from raysweep import blocks, data, defences, membership, models, scenarios
from raysweep.axes import Axis, grid
from raysweep.blocks import SAMPLERS, Pruning, Resources, Sampler
from raysweep.config import Training, TrialConfig
from raysweep.document import Document
from raysweep.errors import RaysweepError, SpaceError
from raysweep.registry import build, explain, lookup, suggestion

BLOCKS = (
    *("name", "dataset", "model", "training", "defences", "search", "scenarios", "attacks"),
    *("objectives", "sampler", "pruning", "resources", "seed"),
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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


def load_space(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Space:
    """Return the space in a YAML file, every law checked.

    ``overrides`` (dotted key -> value) win over the file, as ``--set`` does.

    Raises:
        SpaceError: with the file, the line, the key, the law and the value.

    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceError(f"the search space {path} cannot be read ({error})") from None
    return parse_space(text, str(path), overrides)


def parse_space(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> Space:
    """Return the space in ``text``; ``name`` is what errors call it."""
    document = Document(text, name)
    try:
        value = document.value
        if not isinstance(value, dict):
            raise SpaceError("a search space is a mapping with the keys name, dataset, model ...")
        for key, override in (overrides or {}).items():
            document.overridden[_place(value, key, override)] = key
        return _checked(value)
    except SpaceError as error:
        raise document.locate(error) from None
    except RaysweepError as error:
        raise SpaceError(f"{error} ({name})") from None


def _checked(document: dict[str, Any]) -> Space:
    for key in document:
        if key not in BLOCKS:
            raise SpaceError(f"unknown key {key!r}{suggestion(key, BLOCKS)}", [key])
    for key in ("dataset", "model"):
        block = document.get(key)
        if not isinstance(block, dict) or not isinstance(block.get("name"), str):
            raise SpaceError(f"`{key}` must be a mapping with a `name`, got {block!r}", [key])
    seed = _seed(document.get("seed", 0))
    name = document.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        law = "must be letters, digits, dots, dashes and underscores"
        raise SpaceError(f"`name` {law}, got {name!r}", ["name"])
    config = _complete(document)
    space = Space(
        document=document,
        name=name,
        axes=_axes(document.get("search") or {}),
        scenarios=scenarios.checked(document.get("scenarios") or {}),
        objectives=blocks.objectives(document.get("objectives"), config.attacks),
        sampler=_block(Sampler, document, "sampler"),
        pruning=None if document.get("pruning") is None else _block(Pruning, document, "pruning"),
        resources=_block(Resources, document, "resources"),
        seed=seed,
    )
    space = _with_group_norm(space)
    _check_sampler(space)
    _check_extremes(space)
    _check_pruning(space)
    return space


def _with_group_norm(space: Space) -> Space:
    """Return the space with GroupNorm all through when a trial of it may have DP.

    So the anchor has the architecture of the private trials; the baseline with BatchNorm is run
    beside it, as a scenario. A space that says which `norm` it wants keeps it.
    """
    model = space.document["model"]
    varies = {"model.name", "model.norm"} & {*space.axes}
    has_choice = "norm" in models.complete(model) and "norm" not in model and not varies
    if not has_choice or not _may_be_private(space):
        return space
    beside = {"batch_norm": {"model.norm": "batch", "epsilon": inf, "noise_multiplier": 0.0}}
    document = {**space.document, "model": {**model, "norm": "group"}}
    return dataclasses.replace(space, document=document, scenarios={**beside, **space.scenarios})


def _may_be_private(space: Space) -> bool:
    neutral = defences.neutral()
    fixed = [space.document.get("defences") or {}]
    named = [values for _, values in scenarios.points(space.scenarios)]
    for key in ("epsilon", "noise_multiplier"):
        values = [point[key] for point in (*fixed, *named) if key in point]
        values += space.axes[key].extremes() if key in space.axes else []
        if any(value != neutral[key] for value in values):
            return True
    return False


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpaceError(f"`seed` must be a whole number >= 0, got {value!r}", ["seed"])
    return value


def _block(kind: type[Any], document: Mapping[str, Any], key: str) -> Any:
    given = document.get(key) or {}
    if not isinstance(given, dict):
        raise SpaceError(f"`{key}` must be a mapping, got {given!r}", [key])
    try:
        return build(kind, given)
    except SpaceError as error:
        raise error.under(key) from None


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
            raise SpaceError(f"`{key}` must be a mapping, got {given!r}", [key])
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


def _axes(search: Any) -> dict[str, Axis]:
    if not isinstance(search, dict):
        raise SpaceError(f"`search` must be a mapping of axes, got {search!r}", ["search"])
    axes = {}
    for key, given in search.items():
        place = ("search", key)
        _check_axis_name(key, place)
        if not isinstance(given, dict):
            law = "an axis is {low: .., high: ..} or {values: [..]}"
            raise SpaceError(f"{law}, got {given!r}", place)
        known = [field.alias or name for name, field in Axis.model_fields.items()]
        for part in given:
            if part not in known:
                raise SpaceError(f"unknown key {part!r}{suggestion(part, known)}", (*place, part))
        try:
            axes[key] = Axis.model_validate(given)
        except pydantic.ValidationError as error:
            raise explain(error).under(*place) from None
    return axes


def _check_axis_name(key: str, place: Sequence[str]) -> None:
    block = key.partition(".")[0]
    if key == "seed" or ("." in key and block in ("dataset", "model", "training", "attacks")):
        return
    if key not in defences.known_keys():
        names = [*defences.known_keys(), "seed"]
        hint = suggestion(key, names)
        told = "or a dotted key such as training.learning_rate"
        raise SpaceError(f"unknown axis {key!r}{hint}; {told}", place)


def _check_sampler(space: Space) -> None:
    try:
        lookup(SAMPLERS, space.sampler.name, "sampler")
    except SpaceError as error:
        raise error.under("sampler", "name") from None
    if space.sampler.name == "grid" and space.size() is None:
        open_ = [key for key, axis in space.axes.items() if axis.choices() is None]
        law = "sampler grid needs `values: [...]` or `points: n` on every axis"
        raise SpaceError(f"{law}; {open_[0]!r} has neither", ("search", open_[0]))


def _check_extremes(space: Space) -> None:
    """Build the configurations at the ends, so that no trial meets a broken law."""
    for name, values in scenarios.points(space.scenarios):
        for key in values:
            _check_axis_name(key, ("scenarios", name, key))
    for place, values in space.extremes():
        try:
            space.config(values)
        except RaysweepError as error:
            raise SpaceError(str(error), place) from None


def _check_pruning(space: Space) -> None:
    if space.pruning is None:
        return
    if not space.rungs():
        law = "must be below the epochs of training, so that there is a rung"
        given = space.pruning.grace_epochs or "60 % of them"
        raise SpaceError(f"`grace_epochs` {law}, got {given}", ("pruning", "grace_epochs"))
    if not blocks.rung_objectives(space.objectives, space.config().attacks):
        law = "needs an objective that a rung measures"
        remedy = "add accuracy to `objectives`"
        raise SpaceError(f"`pruning` {law}, got {list(space.objectives)}; {remedy}", ("pruning",))


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


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return ``key: old -> new`` for what may not change when a sweep continues."""
    before, after = _flat(old), _flat(new)
    free = ("name", "resources", "sampler.trials")
    keys = [k for k in sorted({*before, *after}) if not k.startswith(free)]
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in keys
        if before.get(key, absent) != after.get(key, absent)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found
