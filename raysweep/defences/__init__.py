"""The catalogue of defences, in the order in which they are applied.

A defence is a frozen dataclass whose fields are its keys in a space. Every default is neutral,
which means training without this defence. A new defence is one file, its import and its entry in
``DEFENCES``. A user's own defence (``own``) is named as ``package.module:Class``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pydantic

from raysweep.config.own_class import is_own_key, reference_of
from raysweep.config.registry import build, fields, suggestion
from raysweep.defences.adversarial_regularisation import AdversarialRegularisation
from raysweep.defences.augmentation import GaussianNoise, RandomCrop
from raysweep.defences.distillation import Distillation
from raysweep.defences.dpsgd import DPSGD
from raysweep.defences.dropout import Dropout
from raysweep.defences.early_stopping import EarlyStopping
from raysweep.defences.l2 import L2
from raysweep.defences.label_smoothing import LabelSmoothing
from raysweep.defences.own import OwnDefence, counts, own_defences
from raysweep.defences.own import own_neutral as own_neutral
from raysweep.defences.spatial_dropout import SpatialDropout
from raysweep.errors import SpaceError

if TYPE_CHECKING:
    from raysweep.config import Training
    from raysweep.data import Split, Splits
    from raysweep.training.recipe import Recipe


DEFENCES: tuple[type[Any], ...] = (
    Distillation,  # first: its teacher is trained with the recipe before any other defence
    LabelSmoothing,
    Dropout,
    SpatialDropout,
    RandomCrop,
    GaussianNoise,
    L2,
    EarlyStopping,
    AdversarialRegularisation,
    DPSGD,
)

COUNTS = ("random_crop", "early_stopping", "reference_size", "adversary_batches")
"""Keys that count something: a range between whole numbers takes whole numbers only."""

BREAK_PRIVACY = (Distillation, AdversarialRegularisation)
"""Defences that use the members outside DP-SGD's guarantee, each for its ``breaks_privacy``."""

OLDER_NAMES = {"epsilon": "target_epsilon"}
"""Older keys that spaces and records may have, and the present ones.

Today ``epsilon`` is the epsilon that a training spent.
"""


class Defence(Protocol):
    """The settings of a defence, with a method that turns a recipe into a defended one."""

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return a defended recipe; ``recipe`` itself is unchanged."""


@dataclass(frozen=True)
class Defences(Mapping[str, float | str]):
    """All defences of one configuration, in the catalogue's order, and a mapping of their keys.

    A user's own defences come before DP-SGD, in the order of their names.

    >>> Defences.parse({"dropout": 0.5})["dropout"], Defences.parse({})["l2"]
    (0.5, 0.0)
    """

    in_order: tuple[Defence, ...]

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Defences:
        """Return every defence with its ``settings`` (key -> value). Absent keys are neutral.

        The settings of a neutral defence have no effect, so they are reset to their defaults.
        Configurations with the same effect are therefore equal.

        Raises:
            SpaceError: an unknown key, a value that breaks a rule, or DP-SGD together with a
                defence that breaks its guarantee.

        """
        renamed = rename_older(settings)
        valid = all_keys()
        for key in renamed:
            if key not in valid and not is_own_key(key):
                raise SpaceError(
                    f"unknown defence {key!r}{suggestion(str(key), valid)}", place=[key]
                )

        given: dict[type[Any], dict[str, Any]] = {}
        for key in renamed:
            if key in valid:
                given.setdefault(valid[key], {})[key] = renamed[key]
        built = [build(kind, given[kind]) for kind in DEFENCES if kind in given]
        own = own_defences({key: value for key, value in renamed.items() if is_own_key(key)})
        return cls.of(*(d for d in built if not d.is_neutral), *own)

    @classmethod
    def of(cls, *given: Defence) -> Defences:
        """Return the defences ``given`` in the order of application; others are neutral.

        Raises:
            SpaceError: DP-SGD together with a defence that breaks its guarantee.

        """
        kinds = {type(defence): defence for defence in given}
        own = (defence for defence in given if isinstance(defence, OwnDefence))
        *first, last = (kinds.get(kind) or _off(kind) for kind in DEFENCES)
        in_order = (*first, *sorted(own, key=lambda defence: defence.reference), last)
        _refuse_broken_privacy(in_order)
        return cls(in_order)

    @functools.cached_property
    def settings(self) -> dict[str, float | str]:
        """A value for every key of every defence. Numbers are floats, as in stored JSON."""
        values = {key: v for _, settings in self.parts() for key, v in settings.items()}
        return {key: v if isinstance(v, str) else float(v) for key, v in values.items()}

    def parts(self) -> Iterator[tuple[str, dict[str, float | str]]]:
        """Yield the name of each defence, and its values by key."""
        for d in self.in_order:
            if isinstance(d, OwnDefence):
                yield d.reference, d.settings
            else:
                yield type(d).__name__, {key: getattr(d, key) for key in fields(type(d))}

    @property
    def is_private(self) -> bool:
        """Whether DP-SGD is on."""
        return any(isinstance(d, DPSGD) and not d.is_neutral for d in self.in_order)

    def limit(self, training: Training) -> Defences:
        """Return the defences for ``training``, in which stopping after the last epoch is neutral.

        Raises:
            SpaceError: training has fewer epochs than early stopping allows.

        """
        limited = tuple(
            d.limit(training.epochs) if isinstance(d, EarlyStopping) else d for d in self.in_order
        )
        return Defences(limited)

    def check(self, splits: Splits) -> None:
        """Raise a :class:`~raysweep.errors.RaysweepError` if the data do not suit a defence."""
        for defence in self.in_order:
            if isinstance(defence, DPSGD | RandomCrop | AdversarialRegularisation):
                defence.check(splits)

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return ``recipe`` with every defence that is not neutral, in the catalogue's order."""
        for defence in self.in_order:
            if not defence.is_neutral:
                recipe = defence.apply(recipe, reference)
        return recipe

    def __getitem__(self, key: str) -> float | str:
        return self.settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)


def _off(kind: type[Any]) -> Defence:
    """Return a defence with its neutral settings."""
    neutral: Defence = _neutral(kind)  # type: ignore[arg-type]
    return neutral


@functools.cache
def _neutral(kind: type[Any]) -> Any:
    return kind()


def rename_older(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` with present names for older keys.

    Raises:
        SpaceError: a key is given by its older name and by its present one.

    >>> rename_older({"epsilon": 2, "dropout": 0.5})
    {'target_epsilon': 2, 'dropout': 0.5}

    """
    for older, name in OLDER_NAMES.items():
        if older in settings and name in settings:
            rule = f"`{older}` is the older name of `{name}`, and both are given"
            raise SpaceError(rule, remedy=f"keep `{name}`", place=[older])
    return {OLDER_NAMES.get(str(key), key): value for key, value in settings.items()}


def rename_older_in_space(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space's document with present names in defences, axes and scenarios.

    Raises:
        SpaceError: a key is given by its older name and by its present one.

    """
    renamed = dict(document)
    for block in ("defences", "search"):
        if isinstance(document.get(block), dict):
            renamed[block] = _rename_at(document[block], block)

    named = document.get("scenarios")
    if isinstance(named, dict):
        renamed["scenarios"] = {
            name: _rename_at(values, "scenarios", name) if isinstance(values, dict) else values
            for name, values in named.items()
        }

    return renamed


def _rename_at(settings: Mapping[str, Any], *place: str) -> dict[str, Any]:
    """Return :func:`rename_older` of ``settings``. Errors are placed at ``place``."""
    try:
        return rename_older(settings)
    except SpaceError as error:
        raise error.under(*place) from None


@functools.cache
def all_keys() -> dict[str, type[Any]]:
    """Return every key -> the class of its defence."""
    return {key: kind for kind in DEFENCES for key in fields(kind)}


def is_key(key: str) -> bool:
    """Return whether ``key`` is that of a defence; a class of the user's is not looked for."""
    return key in all_keys() or is_own_key(key)


def part_of(key: str) -> str | None:
    """Return the name of the defence that a key belongs to, as in :meth:`Defences.parts`."""
    if is_own_key(key):
        return reference_of(key)
    kind = all_keys().get(key)
    return None if kind is None else kind.__name__


def is_count(key: str) -> bool:
    """Return whether a key of a defence counts something, so that it takes whole numbers only."""
    return counts(key) if is_own_key(key) else key in COUNTS


@functools.cache
def neutral() -> dict[str, float | str]:
    """Return every key -> its neutral value."""
    return {key: getattr(kind(), key) for kind in DEFENCES for key in fields(kind)}


def descriptions() -> dict[str, str]:
    """Return every key -> one line about its meaning."""
    schemas = [pydantic.TypeAdapter(kind).json_schema() for kind in DEFENCES]
    return {key: part["description"] for s in schemas for key, part in s["properties"].items()}


def _refuse_broken_privacy(built: tuple[Defence, ...]) -> None:
    """Raise :class:`SpaceError` if DP-SGD is combined with a defence that breaks it."""
    if not any(isinstance(d, DPSGD) and not d.is_neutral for d in built):
        return

    for place, defence in enumerate(built):
        reason = _breaks_privacy(defence)
        if reason is not None and not defence.is_neutral:
            _, settings = list(Defences(built).parts())[place]
            key = next(iter(settings))
            rule = f"`{key}` breaks the guarantee of DP-SGD: {reason}"
            raise SpaceError(rule, remedy="sweep one or the other", place=[key])


def _breaks_privacy(defence: Defence) -> str | None:
    """Return why DP-SGD gives no guarantee beside a defence; None if it does."""
    if isinstance(defence, BREAK_PRIVACY):
        return defence.breaks_privacy
    return defence.breaks_privacy if isinstance(defence, OwnDefence) else None
