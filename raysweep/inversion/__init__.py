"""The catalogue of inversion attacks: a new one is one file and one line here."""

from __future__ import annotations

from typing import Any

from raysweep.inversion.activation_decoder import ActivationDecoder
from raysweep.inversion.mi_face import MiFace

INVERSION: dict[str, type[Any]] = {"activation_decoder": ActivationDecoder, "mi_face": MiFace}
