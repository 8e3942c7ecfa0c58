"""One trial as plain frozen data, with a hash of its content for a name."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from pydantic.dataclasses import dataclass

from raysweep.errors import StoreError

Positive = Annotated[float, Gt(0)]

Optimizer = Literal["sgd", "adam", "amsgrad"]


@dataclass(frozen=True, kw_only=True)
class PrivateTraining:
    """What replaces the keys of ``training`` when DP-SGD is on; an absent key stays as it was."""

    batch_size: Annotated[int, Gt(0)] | None = None
    optimizer: Optimizer | None = None
    learning_rate: Positive | None = None
    momentum: Annotated[float, Ge(0), Lt(1)] | None = None
    weight_decay: Annotated[float, Ge(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a target is trained. DP-SGD's own settings stand under ``private``; epochs are shared.

    ``amsgrad`` is Adam by Reddi et al. 2018; ``weight_decay`` (gradient lambda W on every
    parameter) belongs to the undefended training too: the defence ``l2`` adds to it. ``bf16``
    runs the model's own layers in bfloat16; parameters, clipping, noise and steps stay float32.
    """

    epochs: Annotated[int, Gt(0)] = 30
    batch_size: Annotated[int, Gt(0)] = 64
    optimizer: Optimizer = "adam"
    learning_rate: Positive = 1e-3
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    weight_decay: Annotated[float, Ge(0)] = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    private: PrivateTraining = field(default_factory=PrivateTraining)

    def as_private(self) -> Training:
        """Return the settings that DP-SGD trains by."""
        own: dict[str, Any] = {"epochs": self.epochs, "private": self.private}
        own["precision"] = self.precision
        for key in ("batch_size", "optimizer", "learning_rate", "momentum", "weight_decay"):
            replaced = getattr(self.private, key)
            own[key] = getattr(self, key) if replaced is None else replaced
        return Training(**own)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One configuration, complete: every defence has a value, neutral where it is off.

    ``dataset``, ``model`` and the attacks of both families hold a ``name`` and its parameters.
    Two configurations that mean the same have the same ``trial_id``.
    """

    dataset: dict[str, Any]
    model: dict[str, Any]
    training: Training
    defences: dict[str, float | str]
    attacks: dict[str, Any]
    seed: int = 0

    @property
    def trial_id(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self._json.encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no blanks, infinity as the text "inf"."""
        return self._json

    @functools.cached_property
    def _json(self) -> str:
        return json.dumps(plain(dataclasses.asdict(self)), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TrialConfig:
        """Return the configuration that ``to_json`` wrote.

        Raises:
            StoreError: it did not write this.

        """
        try:
            document = json.loads(text)
            document["defences"] = {k: _number(v) for k, v in document["defences"].items()}
            config = cls(**document)
            names = config.dataset["name"], config.model["name"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            told = str(error).splitlines()[0]
            raise StoreError(f"a record's `config` is not raysweep's: {told}") from None
        if not all(isinstance(name, str) for name in names):
            raise StoreError(f"a record's `config` is not raysweep's: it names {names}")
        return config


def _number(value: Any) -> Any:
    return math.inf if value == "inf" else value


def plain(value: Any) -> Any:
    """Return ``value`` with infinities as text and tuples as lists, ready for strict JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def sub_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) for one named purpose, independent of every other name's.

    >>> sub_seed(0, "noise") == sub_seed(0, "noise"), sub_seed(0, "noise") == sub_seed(0, "splits")
    (True, False)
    """
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)
