"""One configuration of a trial: typed values, canonical JSON, and the hash that names it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raysweep.attacks import Attacks
from raysweep.config import Measure, Training, check_seed, from_plain, to_plain
from raysweep.config.own_class import is_own_key, split_key
from raysweep.config.registry import build
from raysweep.data import Dataset
from raysweep.defences import OLDER_NAMES, Defences, rename_older
from raysweep.errors import RaysweepError, SpaceError, StoreError
from raysweep.models import NamedModel

_STORED_NAMES = {name: older for older, name in OLDER_NAMES.items()}
"""Key of a defence -> its older name, which stored configurations keep for their hashes."""

_STORED_WITHOUT_DP = {"accountant": "rdp"}
"""What configurations without DP-SGD keep for their hashes: the accountant once had this default.
"""

_BLOCKS = ("dataset", "model", "training", "defences", "attacks")


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One configuration, checked and complete: every defence has a value, neutral where it is off.

    Two configurations that mean the same have the same ``trial_id``. ``measure`` is None, and no
    part of it, where only the trial's own model is measured.
    """

    dataset: Dataset
    model: NamedModel
    training: Training
    defences: Defences
    attacks: Attacks
    seed: int = 0
    measure: Measure | None = None

    @classmethod
    def parse(
        cls, document: Mapping[str, Any], *, parsed: TrialConfig | None = None
    ) -> TrialConfig:
        """Return the configuration that the fixed blocks of a space describe.

        Blocks that ``document`` does not have are those of ``parsed``, if it is given.

        Raises:
            SpaceError: an unknown key or a value that breaks a rule, with its place.

        """
        parsers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "dataset": Dataset.parse,
            "model": NamedModel.parse,
            "training": functools.partial(build, Training),
            "defences": Defences.parse,
            "attacks": functools.partial(
                Attacks.parse, of_recipe=document.get("measure") is not None
            ),
        }
        blocks = {
            key: parse_block(document, key, parse)
            if parsed is None or key in document
            else getattr(parsed, key)
            for key, parse in parsers.items()
        }
        blocks["measure"] = None if parsed is None else parsed.measure
        if document.get("measure") is not None:
            blocks["measure"] = parse_block(document, "measure", functools.partial(build, Measure))
        try:
            blocks["defences"] = blocks["defences"].limit(blocks["training"])
        except SpaceError as error:
            raise error.under("defences") from None

        seed = 0 if parsed is None else parsed.seed
        config = cls(**blocks, seed=check_seed(document.get("seed", seed), "seed"))
        config.attacks.other_datasets(config.dataset)  # raises if one is the target's data set
        if config.measure is not None:
            config.attacks.check_recipe(canaries=bool(config.measure.canaries.counts))
        return config

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values, in the blocks of a space."""
        measure = {} if self.measure is None else {"measure": self.measure.settings}
        return {
            "dataset": self.dataset.settings,
            "model": self.model.settings,
            "training": self.training.settings,
            "defences": self.defences.settings,
            "attacks": self.attacks.settings,
            **measure,
            "seed": self.seed,
        }

    @functools.cached_property
    def trial_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def recipe(self) -> str:
        """What trials that differ only in their seed share, made like ``trial_id``."""
        return recipe_of(self.to_json())

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no blanks, infinity as the text "inf"."""
        return self._json

    @functools.cached_property
    def _json(self) -> str:
        stored = {_STORED_NAMES.get(key, key): value for key, value in self.defences.items()}
        if not self.defences.is_private:
            stored |= _STORED_WITHOUT_DP
        document = to_plain({**self.settings, "defences": stored})
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TrialConfig:
        """Return the configuration that ``to_json`` wrote.

        Raises:
            StoreError: the text is not a configuration.

        """
        with _reading():
            return cls.parse(stored_settings(text))


def recipe_of(text: str) -> str:
    """Return the ``recipe`` of a configuration that ``to_json`` wrote.

    Raises:
        StoreError: the text is not a configuration.

    """
    with _reading():
        document = json.loads(text)
        del document["seed"]
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def stored_settings(text: str) -> dict[str, Any]:
    """Return the configuration that ``to_json`` wrote as plain values, in the blocks of a space.

    Its values are not checked, and no code of a user that it names is imported.

    Raises:
        StoreError: the text is not a configuration.

    """
    with _reading():
        document: dict[str, Any] = from_plain(json.loads(text))
        blocks = {name: dict(document.pop(name)) for name in _BLOCKS}
        named = {key: {"name": blocks[key]["name"], **blocks[key]} for key in ("dataset", "model")}
        return {**blocks, **named, "defences": rename_older(blocks["defences"]), **document}


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Raise :class:`StoreError` for whatever a text that is no configuration raises."""
    try:
        yield
        return
    except StoreError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    except RaysweepError as error:
        reason = str(error)
    raise StoreError(f"raysweep did not write a record's `config`: {reason}")


def setting(document: Mapping[str, Any], key: str) -> Any:
    """Return the value at an axis' key in a configuration of plain values; None if it has none.

    >>> setting({"defences": {"epsilon": 2.0}, "training": {"epochs": 5}}, "target_epsilon")
    2.0
    """
    path = [key] if is_own_key(key) else split_key(key)
    if len(path) == 1 and key != "seed":  # a defence
        block = document.get("defences")
        stored = isinstance(block, dict) and key not in block
        path = ["defences", _STORED_NAMES.get(key, key) if stored else key]
    value: Any = document
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def varied_keys(document: Mapping[str, Any]) -> list[str]:
    """Return the keys that vary in a space: those of its axes, then those of its scenarios."""
    scenarios = document.get("scenarios")
    blocks = [document.get("search")]
    blocks += scenarios.values() if isinstance(scenarios, dict) else []
    mappings = (block for block in blocks if isinstance(block, dict))
    return list(dict.fromkeys(str(key) for block in mappings for key in block))


def parse_block(
    document: Mapping[str, Any], key: str, parse: Callable[[Mapping[str, Any]], Any]
) -> Any:
    """Return what ``parse`` makes of the block ``key`` of a document; {} if it is absent."""
    given = document.get(key) or {}
    if not isinstance(given, dict):
        raise SpaceError(f"`{key}` must be a mapping", got=given, place=[key])
    try:
        return parse(given)
    except SpaceError as error:
        raise error.under(key) from None
