"""Convert values to those of strict JSON and back. JSON has no infinity, so it becomes text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


def to_plain(value: Any) -> Any:
    """Return ``value`` with infinities as text and tuples as lists, ready for strict JSON.

    >>> to_plain({"epsilon": math.inf, "layers": ("output",)})
    {'epsilon': 'inf', 'layers': ['output']}
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def from_plain(value: Any) -> Any:
    """Return ``value`` with the texts for infinity as floats: the reverse of :func:`to_plain`.

    Tuples stay lists.

    >>> from_plain({"epsilon": "inf", "layers": ["output"]})
    {'epsilon': inf, 'layers': ['output']}
    """
    if isinstance(value, dict):
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, str):
        return _INFINITIES.get(value, value)
    return value


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys below ``prefix``; tuples become lists.

    >>> flatten({"model": {"name": "mlp", "hidden": (64,)}, "seed": 0})
    {'model.name': 'mlp', 'model.hidden': [64], 'seed': 0}
    """
    if not isinstance(value, Mapping):
        return {prefix: list(value) if isinstance(value, tuple) else value}

    settings: dict[str, Any] = {}
    for key, inner in value.items():
        settings |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return settings
