"""A user's own defence: a class that a space names as ``package.module:Class``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysweep.config.own_class import keys_of, naming, reference_of, user_class
from raysweep.config.registry import adapter, build, fields, suggestion
from raysweep.errors import ModelError, SpaceError

if TYPE_CHECKING:
    from raysweep.data import Split
    from raysweep.training.recipe import Recipe


METHODS = ("is_neutral", "apply")

UNSTATED = (
    "its class does not state `breaks_privacy` (None: it reaches the members only through the loss "
    "of each example and through the augmentation of each input)"
)


@dataclass(frozen=True)
class OwnDefence:
    """A defence of the user. ``reference`` names its class, and the keys of its parameters."""

    reference: str
    defence: Any

    @property
    def settings(self) -> dict[str, float | str]:
        """A value for every key of the defence."""
        keys = keys_of(self.reference, type(self.defence))
        return {key: getattr(self.defence, field) for key, field in keys.items()}

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        with naming(f"defence {self.reference!r}"):
            return bool(self.defence.is_neutral)

    @property
    def breaks_privacy(self) -> str | None:
        """Why DP-SGD gives no guarantee beside it; None if it does."""
        return getattr(self.defence, "breaks_privacy", UNSTATED)

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the defended recipe, after a trial run of its loss.

        Raises:
            ModelError: the class raises, returns no recipe, or its loss is not one number for
                each example.

        """
        with naming(f"defence {self.reference!r}"):
            defended = self.defence.apply(recipe, reference)
            check_recipe(defended)
        return defended  # type: ignore[no-any-return]


def own_defences(settings: Mapping[str, Any]) -> list[OwnDefence]:
    """Return the defences that ``settings`` (key -> value) name, in the order of their names.

    Raises:
        SpaceError: a class does not keep the contract, or a value breaks a rule.

    """
    named: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        named.setdefault(reference_of(key), {})[key] = value
    return [_build(reference, values) for reference, values in sorted(named.items())]


def own_neutral(keys: Iterable[str]) -> dict[str, float | str]:
    """Return the neutral value of every key of the own defences among ``keys``.

    Raises:
        SpaceError: a class does not keep the contract.

    """
    values: dict[str, float | str] = {}
    for reference in sorted({reference_of(key) for key in keys}):
        values |= OwnDefence(reference, defence_class(reference)()).settings
    return values


def defence_class(reference: str) -> type[Any]:
    """Import the class of an own defence.

    Raises:
        SpaceError: it does not keep the contract.

    """
    kind = user_class(reference, "defence", METHODS)
    check_neutral(kind, reference)
    return kind


def check_neutral(kind: type[Any], reference: str) -> None:
    """Raise :class:`SpaceError` unless the defaults of a class mean plain training."""
    named = f"defence {reference!r}"
    if not fields(kind):
        raise SpaceError(f"{named} must have a parameter", remedy="add a field: its strength")
    try:
        neutral = OwnDefence(reference, build(kind, {}))
    except SpaceError as error:
        rule = f"{named} must have a default for every parameter, which means plain training"
        raise SpaceError(f"{rule}: {error}") from None

    if not neutral.is_neutral:
        raise SpaceError(
            f"{named}: `is_neutral` must be true at the defaults, which mean plain training",
            got=neutral.settings,
        )
    for key, value in neutral.settings.items():
        _check_plain(key, value)


def counts(key: str) -> bool:
    """Return whether a key of an own defence counts something: its field is an ``int``.

    Raises:
        SpaceError: the class does not keep the contract.

    """
    kind = defence_class(reference_of(key))
    field = keys_of(reference_of(key), kind).get(key)
    properties = adapter(kind).json_schema().get("properties", {})
    return bool(properties.get(field, {}).get("type") == "integer")


def check_recipe(recipe: Any) -> None:
    """Raise :class:`ModelError` unless ``recipe`` is a recipe with a loss for each example."""
    import torch

    from raysweep.training.loop import isolated_rng
    from raysweep.training.recipe import Recipe

    if not isinstance(recipe, Recipe):
        remedy = "return dataclasses.replace(recipe, ...)"
        raise ModelError("`apply` must return a Recipe", got=type(recipe).__name__, remedy=remedy)

    with isolated_rng(0, torch.device("cpu")):
        losses = recipe.loss(torch.zeros(3, 4), torch.arange(3))
    shape = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
    if shape != (3,):
        rule = "the loss must be one number for each example: shape (3,) for three"
        raise ModelError(rule, got=shape)


def _build(reference: str, values: Mapping[str, Any]) -> OwnDefence:
    """Return an own defence from values by key. A neutral one has its defaults."""
    kind = defence_class(reference)
    keys = keys_of(reference, kind)
    for key, value in values.items():
        if key not in keys:
            rule = f"unknown parameter of a defence {key!r}{suggestion(key, keys)}"
            raise SpaceError(rule, place=[key])
        _check_plain(key, value)

    try:
        built = OwnDefence(reference, build(kind, {keys[key]: v for key, v in values.items()}))
    except SpaceError as error:
        field = str(error.place[0]) if error.place else ""
        named = {field: key for key, field in keys.items()}
        raise SpaceError(str(error), place=[named.get(field, reference)]) from None
    return OwnDefence(reference, kind()) if built.is_neutral else built


def _check_plain(key: str, value: Any) -> None:
    """Raise :class:`SpaceError` unless a value fits a column: a number or a text."""
    if not isinstance(value, int | float | str):
        remedy = "parameters after the first have keys such as `module:Class.parameter`"
        raise SpaceError(
            f"`{key}` must be a number or a text", got=value, place=[key], remedy=remedy
        )
