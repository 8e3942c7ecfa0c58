"""The catalogue of membership attacks: a new one is one file and one line here."""

from __future__ import annotations

from typing import Any

from raysweep.membership.dtc import Dtc
from raysweep.membership.entropy import Entropy
from raysweep.membership.loss import Loss
from raysweep.membership.max_posterior import MaxPosterior
from raysweep.membership.shadow import Shadow
from raysweep.membership.supervised import Supervised

MEMBERSHIP: dict[str, type[Any]] = {
    "max_posterior": MaxPosterior,
    "loss": Loss,
    "entropy": Entropy,
    "shadow": Shadow,
    "supervised": Supervised,
    "dtc": Dtc,
}
