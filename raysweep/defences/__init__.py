"""The catalogue of defences, in the order in which they are applied.

A defence is a frozen dataclass whose fields are its keys in a space; every default is neutral,
which means plain training. A new defence is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pydantic

from raysweep.config.registry import build, fields, suggestion
from raysweep.defences.adversarial_regularisation import AdversarialRegularisation
from raysweep.defences.augmentation import GaussianNoise, RandomCrop
from raysweep.defences.distillation import Distillation
from raysweep.defences.dpsgd import DPSGD
from raysweep.defences.dropout import Dropout
from raysweep.defences.early_stopping import EarlyStopping
from raysweep.defences.l2 import L2
from raysweep.defences.label_smoothing import LabelSmoothing
from raysweep.defences.spatial_dropout import SpatialDropout
from raysweep.errors import SpaceError

if TYPE_CHECKING:
    from raysweep.config import Training
    from raysweep.data import Split, Splits
    from raysweep.training.recipe import Recipe


DEFENCES: tuple[type[Any], ...] = (
    Distillation,  # first: its teacher is made by the recipe before any defence
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

WHOLE = ("random_crop", "early_stopping", "reference_size", "adversary_batches")
"""The keys that count something: a range of them between whole numbers takes whole numbers."""

BREAK_PRIVACY = (Distillation, AdversarialRegularisation)
"""What touches the members outside DP-SGD's guarantee, and says how."""


class Defence(Protocol):
    """Plain numbers, and one method that turns a recipe into a defended one."""

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return a defended recipe; the given one is unchanged."""


def known_keys() -> dict[str, type[Any]]:
    """Return every key of every defence, with the defence that it belongs to."""
    return {key: kind for kind in DEFENCES for key in fields(kind)}


def neutral() -> dict[str, float | str]:
    """Return every key at the value at which training is plain."""
    return {key: getattr(kind(), key) for kind in DEFENCES for key in fields(kind)}


def descriptions() -> dict[str, str]:
    """Return what every key means, in a line."""
    schemas = [pydantic.TypeAdapter(kind).json_schema() for kind in DEFENCES]
    return {key: part["description"] for s in schemas for key, part in s["properties"].items()}


def build_all(values: Mapping[str, Any]) -> tuple[Defence, ...]:
    """Return every defence with its ``values``, neutral ones too; check names and laws."""
    known = known_keys()
    for key in values:
        if key not in known:
            raise SpaceError(f"unknown defence {key!r}{suggestion(str(key), known)}", place=[key])
    built = tuple(
        build(kind, {key: values[key] for key in fields(kind) if key in values})
        for kind in DEFENCES
    )
    _refuse_broken_privacy(built)
    return built


def _refuse_broken_privacy(built: tuple[Defence, ...]) -> None:
    """Raise :class:`SpaceError` for DP-SGD beside what touches the members outside it."""
    if not is_private(built):
        return
    for defence in built:
        if isinstance(defence, BREAK_PRIVACY) and not defence.is_neutral:
            key = next(iter(fields(type(defence))))
            law = f"`{key}` breaks the guarantee of DP-SGD: {defence.breaks_privacy}"
            raise SpaceError(f"{law}; sweep one or the other", place=[key])


def is_private(built: tuple[Defence, ...]) -> bool:
    """Return whether DP-SGD is on."""
    return any(isinstance(defence, DPSGD) and not defence.is_neutral for defence in built)


def complete(values: Mapping[str, Any]) -> dict[str, float | str]:
    """Return a value for every key.

    The settings of a neutral defence mean nothing, so they are put back to their defaults, and
    configurations that mean the same are the same.
    """
    built = [type(d)() if d.is_neutral else d for d in build_all(values)]
    return {key: getattr(defence, key) for defence in built for key in fields(type(defence))}


def within(values: Mapping[str, float | str], training: Training) -> dict[str, float | str]:
    """Return complete ``values`` beside ``training``: stopping after the last epoch is neutral.

    Raises:
        SpaceError: early stopping after the last epoch.

    """
    stop = EarlyStopping(early_stopping=float(values["early_stopping"]))
    stop.check_epochs(training.epochs)
    is_last = stop.early_stopping == training.epochs
    return {**values, **({"early_stopping": EarlyStopping().early_stopping} if is_last else {})}


def check(values: Mapping[str, Any], splits: Splits) -> None:
    """Raise a :class:`~raysweep.errors.RaysweepError` for what the data do not allow."""
    for defence in build_all(values):
        if isinstance(defence, DPSGD | RandomCrop | AdversarialRegularisation):
            defence.check(splits)


def defend(recipe: Recipe, values: Mapping[str, Any], reference: Split) -> Recipe:
    """Return ``recipe`` under every defence that is not neutral, in the catalogue's order."""
    for defence in build_all(values):
        if not defence.is_neutral:
            recipe = defence.apply(recipe, reference)
    return recipe
