"""Check a whole space against its data before a sweep starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from raysweep import data
from raysweep.config.user_function import is_reference, user_function
from raysweep.data import Splits, deal_key
from raysweep.driver.tried import tried
from raysweep.errors import ModelError, RaysweepError
from raysweep.records.trial_config import TrialConfig
from raysweep.space.space import Space
from raysweep.trial import preflight

Check = Callable[[TrialConfig, Splits], None]

NUMBER = re.compile(r"(?<![\w'.-])\d[\d.,]*(e-?\d+)?")
"""A number by itself: those in names stay."""


def check_space(
    space: Space, checks: Sequence[Check], *, only_here: bool = False
) -> dict[str, Splits]:
    """Load the data of a space and check the configurations that together test all of it.

    With ``only_here``, configurations with data that are not on this machine are left out.
    Returns the deals that were loaded, by :func:`raysweep.data.deal_key`.

    Raises:
        RaysweepError: configurations break rules, each of which is told once, or data cannot be
            read or dealt.

    """
    loaded: dict[str, Splits] = {}

    def objectives(config: TrialConfig, splits: Splits) -> None:
        preflight.check_objectives(space.objectives.names, config, splits)

    def mistakes_of(config: TrialConfig) -> Iterator[RaysweepError]:
        datasets = (config.dataset, *config.attacks.other_datasets(config.dataset))
        if only_here and any(dataset.find() is None for dataset in datasets):
            return
        for dataset in datasets:
            key = deal_key(dataset, config.seed)
            if key not in loaded:
                loaded[key] = data.load(dataset, seed=config.seed)
        splits = loaded[deal_key(config.dataset, config.seed)]
        for check in (*checks, objectives):
            try:
                check(config, splits)
            except RaysweepError as error:
                yield error

    mistakes: list[RaysweepError] = []
    told: set[str] = set()

    def note(errors: Iterator[RaysweepError], place: Sequence[str]) -> None:
        for error in errors:
            if told.isdisjoint(keys := _keys(error, place)):  # once, at its first place
                at = f"`{'.'.join(place)}`: " if place else ""
                mistakes.append(type(error)(f"{at}{error}") if at else error)
            told.update(keys)

    note(mistakes_of(space.baseline()), ())
    for one in tried(space)[0]:
        for values in one.points:
            try:
                note(mistakes_of(space.config(values)), one.place)
            except RaysweepError as error:  # of its values or its data
                note(iter([error]), one.place)
    if len(mistakes) > 1:
        lines = "".join(f"\n  - {mistake}" for mistake in mistakes)
        raise type(mistakes[0])(f"{len(mistakes)} mistakes:{lines}")
    if mistakes:
        raise mistakes[0]
    return loaded


def _keys(error: RaysweepError, place: Sequence[str]) -> set[str]:
    """Return what a mistake shares with the same one: its words, or its rule but for the numbers.

    Several values of the axes of one space break a rule in one way. Each scenario is of its own.
    """
    where = ".".join(place) if "scenarios" in place[:1] else "search"
    rule = str(error).partition(";")[0]  # remedies name what differs, such as layers
    return {str(error), f"{where}: {NUMBER.sub('#', rule)}"}


def check_here(space: Space) -> list[str]:
    """Check a space with the data and modules of this machine; return remarks.

    Raises:
        RaysweepError: a rule is broken, as a sweep would say.

    """
    config = space.config()
    if is_reference(config.model.name):
        user_function(config.model.name, "model")

    loaded = check_space(space, preflight.CHECKS, only_here=True)
    told = [*_of_data(loaded), *_large_batches(space, loaded), *_unmeasured(space, loaded)]
    remarks = [f"note: {note}" for note in (*told, *tried(space)[1] * bool(loaded))]
    if config.dataset.find() is None:
        remarks.append(f"warning: data set {config.dataset.name!r} is not on this machine yet")
    try:
        preflight.check_here(config)
    except ModelError as error:  # another machine may have what this one lacks
        remarks.append(f"warning: {error}")
    return remarks


def _large_batches(space: Space, loaded: dict[str, Splits]) -> Iterator[str]:
    """Yield a note where DP-SGD's batch is larger than the members of the space as it stands."""
    config = space.config()
    splits = loaded.get(deal_key(config.dataset, config.seed))
    batch = config.training.as_private().batch_size
    if splits is not None and space.may_be_private and batch > len(splits.members):
        yield (
            f"training with DP-SGD: batch_size {batch:,} (above the {len(splits.members):,} "
            "members: every step takes all of them)"
        )


def _unmeasured(space: Space, loaded: dict[str, Splits]) -> Iterator[str]:
    """Yield which classes and subgroups of the space as it stands have no figures of their own."""
    config = space.config()
    splits = loaded.get(deal_key(config.dataset, config.seed))
    if splits is not None:
        yield from preflight.unmeasured(config, splits)


def notes(space: Space, loaded: dict[str, Splits]) -> list[str]:
    """Return what a sweep says of its data before it starts, and of settings nobody has stated.

    `validate` prints the settings of DP-SGD with the space, whoever stated them.
    """
    settings = space.private_settings() if space.has_private_defaults else ""
    defaults = [f"training with DP-SGD: {settings}"] if settings else []
    batches = _large_batches(space, loaded)
    return [*_of_data(loaded), *defaults, *batches, *_unmeasured(space, loaded), *tried(space)[1]]


def _of_data(loaded: dict[str, Splits]) -> list[str]:
    """Return what was read and dealt, left out and changed, each sentence once."""
    told = (note for splits in loaded.values() for note in (splits.summary, *splits.notes))
    return list(dict.fromkeys(told))
