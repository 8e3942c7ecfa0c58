"""The catalogue of membership attacks: a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysweep.attacks.inversion.activation_decoder import ActivationDecoder
from raysweep.attacks.inversion.mi_face import MiFace
from raysweep.attacks.membership.data_transfer import DataTransfer
from raysweep.attacks.membership.dtc import Dtc
from raysweep.attacks.membership.entropy import Entropy
from raysweep.attacks.membership.inference_model import InferenceModel
from raysweep.attacks.membership.loss import Loss
from raysweep.attacks.membership.max_posterior import MaxPosterior
from raysweep.attacks.membership.shadow import Shadow
from raysweep.attacks.membership.supervised import Supervised
from raysweep.config.registry import build, fields, lookup, suggestion
from raysweep.errors import SpaceError

KNOWN_SHARE = 0.5

DEFAULT_ATTACKS: dict[str, Any] = {
    "membership": ["max_posterior", "loss", "entropy", "shadow"],
    "inversion": {"activation_decoder": {"layers": ["output"]}},
}


def attacks(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attacks block complete: name -> parameters, and which figures count."""
    given = dict(given) or DEFAULT_ATTACKS
    known = ("membership", "inversion", "attack_auc", "inversion_mse", "known_share")
    for key in given:
        if key not in known:
            raise SpaceError(f"unknown key {key!r}{suggestion(key, known)}", place=[key])
    membership = _family(given.get("membership"), MEMBERSHIP, "membership")
    inversion = _family(given.get("inversion"), INVERSION, "inversion")
    counted = given.get("attack_auc", "strongest")
    if counted not in ("strongest", "mean", *membership):
        hint = suggestion(str(counted), ["strongest", "mean", *membership])
        raise SpaceError(
            f"`attack_auc` names no configured attack: {counted!r}{hint}", place=["attack_auc"]
        )
    layers = [layer for attack in inversion.values() for layer in attack.get("layers", ())]
    usual = "output" if "output" in layers or not inversion else layers[-1] if layers else None
    layer = given.get("inversion_mse", usual)
    if inversion and layer not in (layers or [None]):
        law = f"`inversion_mse` must be one of the attacked layers {layers}"
        raise SpaceError(f"{law}, got {layer!r}", place=["inversion_mse"])
    block = {
        "membership": membership,
        "inversion": inversion,
        "attack_auc": counted,
        "inversion_mse": layer,
    }
    needy = [name for name in membership if MEMBERSHIP[name].needs_known]
    if needy or "known_share" in given:
        block["known_share"] = _known_share(given.get("known_share", KNOWN_SHARE), needy)
    return block


def _known_share(given: Any, needy: list[str]) -> float:
    """Return the share of members and nonmembers that attackers know, left out of judging."""
    place = ["known_share"]
    if not needy:
        names = ", ".join(name for name, kind in MEMBERSHIP.items() if kind.needs_known)
        raise SpaceError(
            f"`known_share` is for attacks that know members ({names}): name one", place=place
        )
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise SpaceError(f"`known_share` must be between 0 and 1, got {given!r}", place=place)
    return float(given)


def counting(attacks: Mapping[str, Any]) -> list[str]:
    """Return the membership attacks that `attack_auc` may be taken from: black-box, or named."""
    if attacks["attack_auc"] in attacks["membership"]:
        return [attacks["attack_auc"]]
    return [name for name in attacks["membership"] if MEMBERSHIP[name].access == "black-box"]


def _family(given: Any, table: Mapping[str, type[Any]], family: str) -> dict[str, dict[str, Any]]:
    """Return name -> complete parameters; a list is shorthand for names without parameters."""
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict | None):
        law = f"`attacks.{family}` must be a list of names, or a mapping of name to parameters"
        raise SpaceError(f"{law}, got {given!r}", place=[family])
    complete = {}
    for name, parameters in (given or {}).items():
        if not isinstance(parameters, dict | None):
            raise SpaceError(f"parameters are a mapping, got {parameters!r}", place=[family, name])
        try:
            attack = build(lookup(table, name, f"{family} attack"), parameters or {})
        except SpaceError as error:
            raise error.under(family, name) from None
        found = {key: getattr(attack, key) for key in fields(type(attack))}
        complete[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    return complete


INVERSION: dict[str, type[Any]] = {"activation_decoder": ActivationDecoder, "mi_face": MiFace}

MEMBERSHIP: dict[str, type[Any]] = {
    "max_posterior": MaxPosterior,
    "loss": Loss,
    "entropy": Entropy,
    "shadow": Shadow,
    "data_transfer": DataTransfer,
    "supervised": Supervised,
    "inference_model": InferenceModel,
    "dtc": Dtc,
}


def other_datasets(attacks: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the data sets, complete, that the attacks read beside the target's ``dataset``.

    Raises:
        SpaceError: an attack asks for one that is the target's own or unknown.

    """
    found = []
    for name, parameters in attacks["membership"].items():
        attack = build(MEMBERSHIP[name], parameters)
        if isinstance(attack, DataTransfer):
            try:
                found.append(attack.other(dataset))
            except SpaceError as error:
                raise error.under("attacks", "membership", name) from None
    return found
