"""The catalogues of attacks, and the ``attacks`` block of a space.

A new attack is one file, its import and its entry in ``MEMBERSHIP`` or ``INVERSION``. A user's own
attack (``own``) is named as ``package.module:Class``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.attacks.contract import InversionAttack, MembershipAttack
from raysweep.attacks.inversion.activation_decoder import ActivationDecoder
from raysweep.attacks.inversion.mi_face import MiFace
from raysweep.attacks.membership.data_transfer import DataTransfer
from raysweep.attacks.membership.dtc import Dtc
from raysweep.attacks.membership.entropy import Entropy
from raysweep.attacks.membership.inference_model import InferenceModel
from raysweep.attacks.membership.likelihood_ratio import Lira, Rmia
from raysweep.attacks.membership.loss import Loss
from raysweep.attacks.membership.max_posterior import MaxPosterior
from raysweep.attacks.membership.shadow import Shadow
from raysweep.attacks.membership.supervised import Supervised
from raysweep.attacks.own import attack_class, check_attack
from raysweep.config.registry import build, fields, lookup, suggestion
from raysweep.config.user_function import is_reference
from raysweep.data import Dataset
from raysweep.errors import SpaceError

MEMBERSHIP: dict[str, type[Any]] = {
    "max_posterior": MaxPosterior,
    "loss": Loss,
    "entropy": Entropy,
    "shadow": Shadow,
    "rmia": Rmia,
    "lira": Lira,
    "data_transfer": DataTransfer,
    "supervised": Supervised,
    "inference_model": InferenceModel,
    "dtc": Dtc,
}

BY_LOGITS: tuple[type[Any], ...] = (MaxPosterior, Loss, Entropy)
"""The attacks that need nothing of a model but its logits and its mean training loss."""

LIKELIHOOD_RATIOS: tuple[type[Any], ...] = (Rmia, Lira)
"""The attacks that compare a model with models which did, or did not, train on an example."""

INVERSION: dict[str, type[Any]] = {"activation_decoder": ActivationDecoder, "mi_face": MiFace}

DEFAULT_KNOWN_SHARE = 0.5

DEFAULT_PRIORS = (0.01,)
"""The shares of members among those whom an attacker asks about: one in a hundred."""


DEFAULT_ATTACKS: dict[str, Any] = {
    "membership": ["max_posterior", "loss", "entropy", "shadow", "rmia"],
    "inversion": {"activation_decoder": {"layers": ["output"]}},
}

RECIPE_ATTACKS = {**DEFAULT_ATTACKS, "membership": [*DEFAULT_ATTACKS["membership"], "lira"]}
"""The default where several models of a recipe are measured: of `rmia` and `lira` now one finds
more, now the other (docs/benchmarks.md), and the models are there."""


@dataclass(frozen=True, kw_only=True)
class Attacks:
    """The attacks of one configuration by name, and the choice of the figures that count.

    ``attack_auc`` is "strongest", "mean" or the name of a membership attack. ``inversion_mse`` is
    the layer whose reconstruction error counts, None if only whole classes are rebuilt.
    ``known_share``, in (0, 1), is the share of members and of nonmembers whose status attackers
    know, None if no attack uses it. ``prior`` are shares of members, in (0, 1), among those whom an
    attacker asks about: the column ``ppv`` is at the first, and each of several has its own.
    """

    membership: Mapping[str, MembershipAttack]
    inversion: Mapping[str, InversionAttack]
    attack_auc: str
    inversion_mse: str | None
    known_share: float | None = None
    prior: tuple[float, ...] = DEFAULT_PRIORS

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, of_recipe: bool = False) -> Attacks:
        """Return the attacks of a space's ``attacks`` block, defaults for an empty one.

        The default is RECIPE_ATTACKS if several models ``of_recipe`` are measured.

        Raises:
            SpaceError: an unknown attack or key, or a value that breaks a rule.

        """
        given = dict(settings) or (RECIPE_ATTACKS if of_recipe else DEFAULT_ATTACKS)
        keys = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in keys:
                raise SpaceError(f"unknown key {key!r}{suggestion(key, keys)}", place=[key])

        membership = _parse_family(given.get("membership"), MEMBERSHIP, "membership")
        inversion = _parse_family(given.get("inversion"), INVERSION, "inversion")
        return cls(
            membership=membership,
            inversion=inversion,
            attack_auc=_parse_attack_auc(given, membership),
            inversion_mse=_parse_inversion_mse(given, inversion),
            known_share=_parse_known_share(given, membership),
            prior=_parse_priors(given.get("prior", DEFAULT_PRIORS[0])),
        )

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The whole ``attacks`` block as plain values, every default filled in."""
        share = {} if self.known_share is None else {"known_share": self.known_share}
        first, *more = self.prior
        prior = {} if self.prior == DEFAULT_PRIORS else {"prior": [first, *more] if more else first}
        return {
            "membership": {name: _parameters(attack) for name, attack in self.membership.items()},
            "inversion": {name: _parameters(attack) for name, attack in self.inversion.items()},
            "attack_auc": self.attack_auc,
            "inversion_mse": self.inversion_mse,
            **share,
            **prior,
        }

    @property
    def counted(self) -> list[str]:
        """The membership attacks that ``attack_auc`` may come from: black-box, or named."""
        if self.attack_auc in self.membership:
            return [self.attack_auc]
        return [name for name, attack in self.membership.items() if "white-box" not in attack.needs]

    @property
    def of_recipe(self) -> dict[str, MembershipAttack]:
        """The membership attacks that an ensemble of models can be judged by."""
        kinds = (*BY_LOGITS, *LIKELIHOOD_RATIOS)
        return {name: attack for name, attack in self.membership.items() if type(attack) in kinds}

    def with_threshold(self, *, of_recipe: bool) -> list[str]:
        """Return the counted attacks that predict membership by a threshold of their own."""
        if of_recipe:
            kinds: tuple[type[Any], ...] = (Loss, *LIKELIHOOD_RATIOS)
            return [n for n in self.counted if isinstance(self.membership[n], kinds)]
        without = (MaxPosterior, Entropy, Lira, Dtc)
        return [n for n in self.counted if not isinstance(self.membership[n], without)]

    def check_recipe(self, *, canaries: bool = False) -> None:
        """Raise :class:`SpaceError` unless an ensemble of models can be attacked as asked.

        ``attack_auc`` must be of one of its attacks, and ``canaries`` need one.
        """
        kinds = (*BY_LOGITS, *LIKELIHOOD_RATIOS)
        names = ", ".join(name for name, kind in MEMBERSHIP.items() if kind in kinds)
        if (self.membership or canaries) and not self.of_recipe:
            rule = f"`measure{'.canaries' if canaries else ''}` needs one of the attacks {names}"
            raise SpaceError(rule, got=list(self.membership), place=["attacks", "membership"])
        if self.attack_auc in self.membership and self.attack_auc not in self.of_recipe:
            rule = f"with `measure`, `attack_auc` must be strongest, mean or one of {names}"
            raise SpaceError(rule, got=self.attack_auc, place=["attacks", "attack_auc"])

    def other_datasets(self, dataset: Dataset) -> list[Dataset]:
        """Return the data sets that the attacks read in addition to the target's ``dataset``.

        Raises:
            SpaceError: an attack names an unknown data set, or that of the target.

        """
        others = []
        for name, attack in self.membership.items():
            if isinstance(attack, DataTransfer):
                try:
                    others.append(attack.other(dataset))
                except SpaceError as error:
                    raise error.under("attacks", "membership", name) from None
        return others


def _parse_family(given: Any, catalogue: Mapping[str, type[Any]], family: str) -> dict[str, Any]:
    """Return name -> attack. A list of names is short for names without parameters."""
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict | None):
        rule = f"`attacks.{family}` must be a list of names, or a mapping of name to parameters"
        raise SpaceError(rule, got=given, place=[family])

    attacks = {}
    for name, parameters in (given or {}).items():
        if not isinstance(parameters, dict | None):
            raise SpaceError("parameters are a mapping", got=parameters, place=[family, name])
        try:
            attacks[name] = _parse_attack(name, parameters or {}, catalogue, family)
        except SpaceError as error:
            raise error.under(family, name) from None
    return attacks


def _parse_attack(
    name: str, parameters: dict[str, Any], catalogue: Mapping[str, type[Any]], family: str
) -> Any:
    """Return the attack of the catalogue, or the user's own, with its parameters checked."""
    if not is_reference(name):
        return build(lookup(catalogue, name, f"{family} attack"), parameters)
    attack = build(attack_class(name, family), parameters)
    check_attack(name, attack, family)
    return attack


def _parameters(attack: Any) -> dict[str, Any]:
    values = {key: getattr(attack, key) for key in fields(type(attack))}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def _parse_attack_auc(given: Mapping[str, Any], membership: Mapping[str, Any]) -> str:
    """Return ``attack_auc``: "strongest", "mean" or the name of a configured attack."""
    counted = given.get("attack_auc", "strongest")
    choices = ["strongest", "mean", *membership]
    if counted not in choices:
        hint = suggestion(str(counted), choices)
        rule = f"`attack_auc` names no configured attack: {counted!r}{hint}"
        raise SpaceError(rule, place=["attack_auc"])
    return str(counted)


def _parse_inversion_mse(given: Mapping[str, Any], inversion: Mapping[str, Any]) -> str | None:
    """Return ``inversion_mse``: by default ``output`` if it is attacked, else the last layer."""
    layers = [
        layer for attack in inversion.values() for layer in attack.layers if layer is not None
    ]
    default = layers[-1] if layers else None
    if "output" in layers or not inversion:
        default = "output"

    layer: str | None = given.get("inversion_mse", default)
    if inversion and layer not in (layers or [None]):
        rule = f"`inversion_mse` must be one of the attacked layers {layers}"
        raise SpaceError(rule, got=layer, place=["inversion_mse"])
    return layer


def _parse_known_share(given: Mapping[str, Any], membership: Mapping[str, Any]) -> float | None:
    """Return ``known_share``, or None if no attack uses it."""
    is_used = any("known" in attack.needs for attack in membership.values())
    if not is_used and "known_share" not in given:
        return None

    if not is_used:
        names = ", ".join(name for name, kind in MEMBERSHIP.items() if "known" in kind.needs)
        rule = f"`known_share` needs an attack that uses known members ({names})"
        raise SpaceError(rule, place=["known_share"])

    return _parse_share(given.get("known_share", DEFAULT_KNOWN_SHARE), "known_share")


def _parse_share(given: Any, name: str, *, place: Sequence[str] = ()) -> float:
    """Return a share between 0 and 1, both excluded; ``place`` is where it stands, if not there."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise SpaceError(f"`{name}` must be between 0 and 1", got=given, place=place or [name])
    return float(given)


def _parse_priors(given: Any) -> tuple[float, ...]:
    """Return the priors that a number, or a list of them, states."""
    if not isinstance(given, list):
        return (_parse_share(given, "prior"),)
    if not given:
        raise SpaceError(
            "`prior` must be a number or a list of them",
            got=given,
            remedy="write [0.01, 0.1], or leave it out for 0.01",
            place=["prior"],
        )
    return tuple(
        _parse_share(one, f"prior[{number}]", place=("prior", str(number)))
        for number, one in enumerate(given)
    )
