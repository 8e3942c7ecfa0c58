"""The JSON Schema of a search space, for editors that complete and check YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from raysweep import defences
from raysweep.attacks import INVERSION, MEMBERSHIP
from raysweep.config import Measure, Training
from raysweep.data.deal import PublishedSizes, Sizes
from raysweep.data.sources import SOURCES
from raysweep.models import MODELS
from raysweep.records.objectives import OBJECTIVES
from raysweep.space.axes import Axis
from raysweep.space.settings import SAMPLERS, Pruning, Resources, Sampler

SPLIT = {
    "split": {
        "enum": ["dealt", "published"],
        "default": "dealt",
        "description": "pool all examples, or keep the published training and test set apart",
    }
}

DEAL_SEED = {
    "deal_seed": {
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}],
        "default": None,
        "description": "seed that deals the examples into splits; null: `seed` of the space",
    }
}

BLOCK_DESCRIPTIONS = {
    "name": "name of the sweep and of its results folder: letters, digits, `.`, `-` and `_`",
    "dataset": "the data set, and how many of its examples each split gets",
    "model": "the network that is trained and attacked",
    "training": "how the network is trained",
    "defences": "defences with one value for all trials but the baseline",
    "search": "the axes that vary, each named by a key of a defence, `seed` or a dotted key",
    "scenarios": "named settings that run before the sampler's: a key and its value, or a list",
    "attacks": "the attacks on each trained network, and which of their figures count",
    "measure": "measure the recipe on several models of each configuration; off without this block",
    "objectives": "the figures that trials are compared in, each with its direction",
    "constraints": "what a trial on the front must meet, such as [accuracy >= 0.8, epsilon <= 8]",
    "sampler": "how configurations are chosen, and how many",
    "pruning": "stop trials early that fall behind; off without this block",
    "resources": "the part of the machine that one trial uses",
    "seed": "seed of splits, initial weights, batches, noise, attacks and proposals",
}

ATTACK_DESCRIPTIONS = {
    "membership": "attacks that tell members from nonmembers: a list, or name to parameters",
    "inversion": "attacks that rebuild members or classes: a list, or name to parameters",
    "attack_auc": "`strongest`, `mean` (both of the black-box attacks), or one attack by name",
    "inversion_mse": "the layer whose reconstruction error counts",
    "known_share": "share of members and nonmembers that an attacker knows; not judged on",
    "prior": "share of members among those whom an attacker asks about; or a list of shares",
}

SHARE = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

REFERENCE = {"type": "string", "pattern": r"^[\w.]+:\w+$", "description": "package.module:function"}


OWN_CLASS = {**REFERENCE, "description": "package.module:Class, your own"}

OWN_ATTACK = {r"^[\w.]+:\w+$": {"type": "object", "description": "parameters of your own class"}}

OWN_DEFENCE = {
    r"^[\w.]+:\w+(\.\w+)?$": {
        "type": ["number", "string"],
        "description": "the first parameter of your own class, or the one after the dot",
    }
}


AT_PRIOR = {
    r"^ppv_at_prior_0[._]\d+$": {
        "const": "min",
        "description": "`ppv` at that one of several priors in `attacks.prior`",
    }
}


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12), made from the dataclasses that check a space."""
    axis = _json_schema(Axis)
    settings = _properties(*defences.DEFENCES)
    sampler = _properties(Sampler)
    sampler["name"] = {"enum": list(SAMPLERS)} | {
        key: sampler["name"][key] for key in ("default", "description")
    }
    attacks: dict[str, Any] = {
        "membership": _family(MEMBERSHIP),
        "inversion": _family(INVERSION),
        "attack_auc": {"type": "string"},
        "inversion_mse": {"type": "string"},
        "known_share": dict(SHARE),
        "prior": {
            "anyOf": [SHARE, {"type": "array", "items": SHARE, "minItems": 1}],
            "default": 0.01,
        },
    }
    objectives = {
        name: {"const": one.direction, "description": one.description}
        for name, one in OBJECTIVES.items()
    }

    blocks: dict[str, Any] = {
        "name": {"type": "string"},
        "dataset": _dataset(),
        "model": _named_block(MODELS, {}),
        "training": _object(_properties(Training)),
        "defences": _object(settings, own=OWN_DEFENCE),
        "search": {**_object(dict.fromkeys(settings, axis)), "additionalProperties": axis},
        "scenarios": {"type": "object", "additionalProperties": {"type": "object"}},
        "attacks": _object(_describe(attacks, ATTACK_DESCRIPTIONS)),
        "measure": {**_object(_properties(Measure)), "required": ["models"]},
        "objectives": _object(objectives, own=AT_PRIOR),
        "constraints": {"type": "array", "items": {"type": "string"}},
        "sampler": _object(sampler),
        "pruning": _object(_properties(Pruning)),
        "resources": _object(_properties(Resources)),
        "seed": {"type": "integer", "minimum": 0, "default": 0},
    }

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "raysweep search space",
        "type": "object",
        "required": ["name", "dataset", "model"],
        "additionalProperties": False,
        "properties": _describe(blocks, BLOCK_DESCRIPTIONS),
    }


def _dataset() -> dict[str, Any]:
    """Return the schema of ``dataset``, whose sizes have other defaults if the split is published.

    Editors read defaults from ``then`` and ``else``.
    """
    sizes, published = _properties(Sizes), _properties(PublishedSizes)
    described = {key: {"description": size["description"]} for key, size in sizes.items()}
    block = _named_block(SOURCES, SPLIT | DEAL_SEED | described)
    is_published = {"properties": {"split": {"const": "published"}}, "required": ["split"]}
    return {
        **block,
        "if": is_published,
        "then": {"properties": published},
        "else": {"properties": sizes},
    }


def _json_schema(kind: type[Any]) -> dict[str, Any]:
    """Return the schema of a dataclass or model, without references."""
    schema = pydantic.TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
    definitions = schema.pop("$defs", {})
    return _inline(schema, definitions)  # type: ignore[no-any-return]


def _inline(value: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema with the definition in place of every reference, and infinity as text."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _inline(definitions[value["$ref"].rpartition("/")[2]], definitions)
        return {key: _inline(item, definitions) for key, item in value.items()}
    if isinstance(value, list):
        return [_inline(item, definitions) for item in value]
    return ".inf" if value == float("inf") else value


def _properties(*kinds: type[Any]) -> dict[str, Any]:
    """Return the schemas of the fields of all ``kinds``, by name."""
    properties: dict[str, Any] = {}
    for kind in kinds:
        properties |= _json_schema(kind).get("properties", {})
    return properties


def _describe(properties: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the properties, each with its description."""
    return {key: {**part, "description": texts[key]} for key, part in properties.items()}


def _object(
    properties: Mapping[str, Any], *, own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the schema of a mapping; ``own`` (pattern -> schema) is that of a space's own keys."""
    block = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return block if own is None else {**block, "patternProperties": dict(own)}


def _named_block(catalogue: Mapping[str, type[Any]], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a block with a ``name`` from a catalogue, its parameters and ``others``.

    A parameter that differs between names, such as in its default, is described for each of them.
    """
    parts = {name: _properties(kind) for name, kind in catalogue.items()}
    merged = _properties(*catalogue.values())
    varying = {key for part in parts.values() for key in part if part[key] != merged[key]}
    merged |= {key: {"description": merged[key]["description"]} for key in varying}
    rules = [
        {
            "if": {"properties": {"name": {"const": name}}},
            "then": {"properties": {key: part[key] for key in part if key in varying}},
        }
        for name, part in parts.items()
        if varying & part.keys()
    ]
    name = {
        "anyOf": [{"enum": list(catalogue)}, REFERENCE],
        "description": "a name of the catalogue, or your own function as package.module:function",
    }
    properties = {"name": name, **merged, **others}
    block = {"type": "object", "required": ["name"], "properties": properties}
    return {**block, "allOf": rules} if rules else block


def _family(table: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return the schema of a family of attacks: a list of names, or names to parameters."""
    parameters = {
        name: {
            **_object(_properties(kind)),
            "description": (kind.__doc__ or "").strip().partition("\n")[0],
        }
        for name, kind in table.items()
    }
    listed = {"type": "array", "items": {"anyOf": [{"enum": list(table)}, OWN_CLASS]}}
    return {"anyOf": [listed, _object(parameters, own=OWN_ATTACK)]}
