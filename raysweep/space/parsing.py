"""Turn YAML into a space, and check every rule before anything runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pydantic

from raysweep import defences
from raysweep.config.plain_values import flatten
from raysweep.config.registry import build, explain, lookup, suggestion
from raysweep.config.training import PRIVATE_DEFAULTS, Training
from raysweep.config.yaml import MAX_CHARACTERS, Document
from raysweep.data.sources import file_remedy
from raysweep.errors import RaysweepError, SpaceError
from raysweep.records.trial_config import TrialConfig, parse_block
from raysweep.space import scenarios
from raysweep.space.axes import Axis
from raysweep.space.mistakes import check_whole
from raysweep.space.objectives import parse_objectives, rung_objectives
from raysweep.space.private_choice import check_private_choice, without_attacks
from raysweep.space.settings import SAMPLERS, Pruning, Resources, Sampler
from raysweep.space.shipped import find_space, shipped_spaces
from raysweep.space.space import Space, check_axis_name, set_key

BLOCKS = (
    "name",
    "dataset",
    "model",
    "training",
    "defences",
    "search",
    "scenarios",
    "attacks",
    "measure",
    "objectives",
    "constraints",
    "sampler",
    "pruning",
    "resources",
    "seed",
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def load_space(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Space:
    """Return the space in a YAML file, with every rule checked.

    ``path`` may also be the name of a space that comes with raysweep, such as ``quickstart``.
    ``overrides`` (dotted key -> value) replace values of the file, as ``--set`` does.

    Raises:
        SpaceError: every mistake, with the file, the line, the key, the rule and the value.

    """
    file = find_space(path)
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        hint = suggestion(str(path), shipped_spaces()).replace("Known", "raysweep comes with")
        raise SpaceError(f"there is no file {path}{hint}") from None
    except (OSError, ValueError) as error:
        remedy = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        rule = f"the search space {path} cannot be read ({error})"
        raise SpaceError(rule, remedy=remedy) from None
    return parse_space(text, str(file), overrides)


def parse_space(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> Space:
    """Return the space in ``text``. Errors name it ``name``."""
    document = Document(text, name)
    try:
        if not isinstance(document.value, dict):
            raise SpaceError("a search space is a mapping with the keys name, dataset, model ...")

        value = defences.rename_older_in_space(document.value)
        document.rename_places(defences.OLDER_NAMES)
        for key, override in (overrides or {}).items():
            document.overridden[set_key(value, key, override)] = key
    except SpaceError as error:
        raise document.locate(error) from None
    try:
        return check_whole(document, value, _check_space)
    except SpaceError:
        raise
    except RaysweepError as error:
        raise SpaceError(f"{error} ({name})") from None


def _check_space(document: dict[str, Any]) -> Space:
    """Return the space that ``document`` describes, with every rule checked."""
    for key in document:
        if key not in BLOCKS:
            raise SpaceError(f"unknown key {key!r}{suggestion(key, BLOCKS)}", place=[key])
    for key in ("dataset", "model"):
        block = document.get(key)
        if not isinstance(block, dict) or not isinstance(block.get("name"), str):
            remedy = file_remedy(block) if key == "dataset" else ""
            rule = f"`{key}` must be a mapping with a `name`"
            raise SpaceError(rule, got=block, remedy=remedy, place=[key])
    name = document.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        rule = "`name` must be letters, digits, dots, dashes and underscores"
        raise SpaceError(rule, got=name, place=["name"])

    document = without_attacks(document)
    config = TrialConfig.parse(document)
    pruning = None
    if document.get("pruning") is not None:
        pruning = parse_block(document, "pruning", partial(build, Pruning))
    space = Space(
        document=document,
        name=name,
        axes=_axes(document.get("search") or {}),
        scenarios=scenarios.parse_scenarios(document.get("scenarios") or {}),
        objectives=parse_objectives(
            document.get("objectives"), config, document.get("constraints")
        ),
        sampler=parse_block(document, "sampler", partial(build, Sampler)),
        pruning=pruning,
        resources=parse_block(document, "resources", partial(build, Resources)),
        seed=config.seed,
    )

    space = _choose_group_norm(space)
    if space.may_be_private and space.lacks_private_training():
        private = {"private": Training(private=PRIVATE_DEFAULTS).settings["private"]}
        document = {**space.document, "training": {**(document.get("training") or {}), **private}}
        space = dataclasses.replace(space, document=document)
    _check_sampler(space)
    check_private_choice(space)
    _check_extremes(space)
    _check_pruning(space)
    return space


def _choose_group_norm(space: Space) -> Space:
    """Return the space with GroupNorm in every trial if one of them may use DP-SGD.

    The baseline then has the same architecture as the private trials. The baseline with BatchNorm
    is run as well, as a scenario. A space that states a `norm` keeps it.
    """
    model = space.document["model"]
    varies = {"model.name", "model.norm"} & {*space.axes}
    has_choice = "norm" in space.config().model.settings and "norm" not in model and not varies
    if not has_choice or not space.may_be_private:
        return space
    if space.sampler.law is not None:  # every trial is private, and none is a scenario
        document = {**space.document, "model": {**model, "norm": "group"}}
        return dataclasses.replace(space, document=document)

    added = {"batch_norm": {"model.norm": "batch", "target_epsilon": inf, "noise_multiplier": 0.0}}
    document = {**space.document, "model": {**model, "norm": "group"}}
    return dataclasses.replace(space, document=document, scenarios={**added, **space.scenarios})


def _axes(search: Any) -> dict[str, Axis]:
    if not isinstance(search, dict):
        raise SpaceError("`search` must be a mapping of axes", got=search, place=["search"])

    axes, neutral = {}, defences.neutral()
    for key, given in search.items():
        place = ("search", key)
        check_axis_name(key, place)
        if not isinstance(given, dict):
            rule = "an axis is {low: .., high: ..} or {values: [..]}"
            raise SpaceError(rule, got=given, place=place)

        valid = [field.alias or name for name, field in Axis.model_fields.items()]
        for part in given:
            if part not in valid:
                raise SpaceError(
                    f"unknown key {part!r}{suggestion(part, valid)}", place=(*place, part)
                )

        if given.get("or") is False and key in neutral:  # YAML reads `off` and `no` so
            given = {**given, "or": neutral[key]}
        try:
            axes[key] = Axis.model_validate(given)
        except pydantic.ValidationError as error:
            raise explain(error).under(*place) from None
    return axes


def _check_sampler(space: Space) -> None:
    try:
        lookup(SAMPLERS, space.sampler.name, "sampler")
    except SpaceError as error:
        raise error.under("sampler", "name") from None

    if space.sampler.name == "grid" and space.size() is None:
        key = next(key for key, axis in space.axes.items() if axis.choices() is None)
        rule = "sampler grid needs `values: [...]` or `points: n` on every axis"
        raise SpaceError(f"{rule}; {key!r} has neither", place=("search", key))


def _check_extremes(space: Space) -> None:
    """Build the configurations at the ends of the axes, so that no trial breaks a rule."""
    for name, values in scenarios.points(space.scenarios):
        for key in values:
            check_axis_name(key, ("scenarios", name, key))
    for place, values in space.extremes():
        try:
            space.config(values)
        except RaysweepError as error:
            raise SpaceError(str(error), place=place) from None


def _check_pruning(space: Space) -> None:
    if space.pruning is None:
        return

    if not space.rungs():
        rule = "`grace_epochs` must be below the epochs of training, so that there is a rung"
        given = space.pruning.grace_epochs or "60 % of them"
        raise SpaceError(f"{rule}, got {given}", place=("pruning", "grace_epochs"))
    if not rung_objectives(space.objectives, space.config().attacks).names:
        raise SpaceError(
            "`pruning` needs an objective that a rung measures",
            got=list(space.objectives.names),
            remedy="add accuracy to `objectives`",
            place=["pruning"],
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return ``key: old -> new`` for every change that a continued sweep does not allow."""
    before, after = flatten(old), flatten(new)
    free = ("name", "resources", "sampler.trials")
    keys = [k for k in sorted({*before, *after}) if not k.startswith(free)]
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in keys
        if before.get(key, absent) != after.get(key, absent)
    ]
