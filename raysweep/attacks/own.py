"""A user's own attack: a class that a space names as ``package.module:Class``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

from raysweep.attacks.contract import Need
from raysweep.config import to_plain
from raysweep.config.own_class import user_class
from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError

METHODS = {"membership": ("needs", "score"), "inversion": ("needs", "reconstruct")}


def attack_class(reference: str, family: str) -> type[Any]:
    """Import the class of an own attack; ``family`` is ``membership`` or ``inversion``.

    Raises:
        SpaceError: it does not keep the contract.

    """
    kind = user_class(reference, f"{family} attack", METHODS[family])
    check_needs(kind, f"{family} attack {reference!r}")
    return kind


def check_needs(kind: type[Any], named: str) -> None:
    """Raise :class:`SpaceError` unless ``needs`` of a class lists what an attacker may have."""
    valid = get_args(Need)
    if not isinstance(kind.needs, tuple | list):
        raise SpaceError(f"{named}: `needs` must be a tuple", got=kind.needs)
    for need in kind.needs:
        if need not in valid:
            raise SpaceError(f"{named}: unknown need {need!r}{suggestion(str(need), valid)}")


def check_attack(reference: str, attack: Any, family: str) -> None:
    """Raise :class:`SpaceError` unless its layers can be attacked and its parameters recorded."""
    named = f"{family} attack {reference!r}"
    if family == "inversion":
        layers: Any = getattr(attack, "layers", None)
        is_tuple = isinstance(layers, tuple | list)
        if not is_tuple or not layers or not all(isinstance(x, str | None) for x in layers):
            rule = f"{named}: `layers` must be a tuple of names of layers, such as ('output',)"
            raise SpaceError(rule, got=layers, remedy="(None,) rebuilds whole classes")
    try:
        json.dumps(to_plain(dataclasses.asdict(attack)))
    except (TypeError, ValueError):
        rule = f"{named}: parameters must be numbers, texts, lists or mappings"
        raise SpaceError(rule, got=dataclasses.asdict(attack)) from None
