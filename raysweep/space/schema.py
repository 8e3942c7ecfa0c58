"""The JSON Schema of a search space, for editors that complete and check YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from raysweep import defences
from raysweep.attacks import INVERSION, MEMBERSHIP
from raysweep.config import Training
from raysweep.data.deal import PublishedSizes
from raysweep.data.sources import SOURCES
from raysweep.models import MODELS
from raysweep.records.objectives import OBJECTIVES
from raysweep.space.axes import Axis
from raysweep.space.settings import SAMPLERS, Pruning, Resources, Sampler

SPLIT = {"split": {"enum": ["dealt", "published"]}}

REFERENCE = {"type": "string", "pattern": r"^[\w.]+:\w+$", "description": "package.module:function"}


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12), made from the dataclasses that check a space."""
    defence_keys = _properties(*defences.DEFENCES)
    sampler = {**_properties(Sampler), "name": {"enum": list(SAMPLERS)}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "raysweep search space",
        "type": "object",
        "required": ["name", "dataset", "model"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string"},
            "dataset": _named(SOURCES, _properties(PublishedSizes, *SOURCES.values()) | SPLIT),
            "model": _named(MODELS, _properties(*MODELS.values())),
            "training": _object(_properties(Training)),
            "defences": _object(defence_keys),
            "search": {
                "type": "object",
                "properties": dict.fromkeys(defence_keys, _json_schema(Axis)),
                "additionalProperties": _json_schema(Axis),
            },
            "scenarios": {"type": "object", "additionalProperties": {"type": "object"}},
            "attacks": _object(
                {
                    "membership": _family(MEMBERSHIP),
                    "inversion": _family(INVERSION),
                    "attack_auc": {"type": "string"},
                    "inversion_mse": {"type": "string"},
                    "known_share": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "exclusiveMaximum": 1,
                    },
                }
            ),
            "objectives": _object({name: {"const": d} for name, d in OBJECTIVES.items()}),
            "sampler": _object(sampler),
            "pruning": _object(_properties(Pruning)),
            "resources": _object(_properties(Resources)),
            "seed": {"type": "integer", "minimum": 0},
        },
    }


def _json_schema(kind: type[Any]) -> dict[str, Any]:
    found = pydantic.TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
    inner = found.pop("$defs", {})
    return _inlined(found, inner)  # type: ignore[no-any-return]


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema with every reference replaced by what it refers to; infinity as text."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _inlined(definitions[value["$ref"].rpartition("/")[2]], definitions)
        return {key: _inlined(item, definitions) for key, item in value.items()}
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    return ".inf" if value == float("inf") else value


def _properties(*kinds: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in kinds:
        found |= _json_schema(kind)["properties"]
    return found


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _named(names: Iterable[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    name = {"anyOf": [{"enum": list(names)}, REFERENCE]}
    return {"type": "object", "required": ["name"], "properties": {"name": name, **properties}}


def _family(table: Mapping[str, type[Any]]) -> dict[str, Any]:
    parameters = {
        name: _object(_json_schema(kind).get("properties", {})) for name, kind in table.items()
    }
    listed = {"type": "array", "items": {"enum": list(table)}}
    return {"anyOf": [listed, _object(parameters)]}
