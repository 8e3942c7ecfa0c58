"""The catalogue of membership attacks: a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysweep.errors import SpaceError
from raysweep.membership.data_transfer import DataTransfer
from raysweep.membership.dtc import Dtc
from raysweep.membership.entropy import Entropy
from raysweep.membership.inference_model import InferenceModel
from raysweep.membership.loss import Loss
from raysweep.membership.max_posterior import MaxPosterior
from raysweep.membership.shadow import Shadow
from raysweep.membership.supervised import Supervised
from raysweep.registry import build

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
