"""Values as strict JSON has them, and back: the one place where infinity becomes text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_INFINITIES = {"inf": math.inf, "-inf": -math.inf}


def plain(value: Any) -> Any:
    """Return ``value`` with infinities as text and tuples as lists, ready for strict JSON.

    >>> plain({"epsilon": math.inf, "layers": ("output",)})
    {'epsilon': 'inf', 'layers': ['output']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def restore(value: Any) -> Any:
    """Return what :func:`plain` was given, with tuples as lists.

    >>> restore({"epsilon": "inf", "layers": ["output"]})
    {'epsilon': inf, 'layers': ['output']}
    """
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    return _INFINITIES.get(value, value) if isinstance(value, str) else value
