"""The rules that every attack keeps."""

from __future__ import annotations

from typing import Any

from raysweep.attacks.own import METHODS, check_needs
from raysweep.attacks.own import check_attack as check_instance
from raysweep.config.own_class import check_dataclass
from raysweep.config.registry import build
from raysweep.testing import inversion, membership
from raysweep.testing.rules import demand, demanding
from raysweep.trial.machine import limit_threads


@limit_threads(1)
def check_attack(kind: type[Any], **parameters: Any) -> None:
    """Check an attack's class against its contract, built with ``parameters``.

    A class with ``score`` is a membership attack. One with ``reconstruct`` is an inversion attack,
    and its ``layers`` are those of a network with ``dense1`` and ``output``, or None.

    Raises:
        BrokenRule: the first rule that it breaks, and what was found.

    """
    name = getattr(kind, "__name__", repr(kind))
    families = [family for family in METHODS if hasattr(kind, METHODS[family][-1])]
    demand(len(families) == 1, name, "it has `score` or `reconstruct`", families or "neither")
    (family,) = families

    with demanding(name, "it is a dataclass that states its needs and takes these parameters"):
        check_dataclass(kind, name, METHODS[family])
        check_needs(kind, name)
        attack = build(kind, parameters)
        check_instance(name, attack, family)

    if family == "membership":
        for rule in membership.RULES:
            rule(name, attack)
    else:
        for layer in attack.layers:
            for rule_of_layer in inversion.RULES:
                rule_of_layer(name, attack, layer)
