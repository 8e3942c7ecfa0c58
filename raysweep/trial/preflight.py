"""Check a trial against its data and its model before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from raysweep.attacks.metrics import TAIL_FNR, nonmembers_for
from raysweep.config.registry import suggestion
from raysweep.data import Splits
from raysweep.defences import Defences
from raysweep.defences.dpsgd import DPSGD, check_expected_batch
from raysweep.errors import DataError, ModelError
from raysweep.records.priors import is_at_prior
from raysweep.records.trial_config import TrialConfig
from raysweep.trial.canary_population import check_canaries
from raysweep.trial.population import check_population, partitions, population

if TYPE_CHECKING:
    from raysweep.training.recipe import Recipe


LEAST = 10  # examples that an attack is trained on, or that a figure is computed from

NEEDED = {
    "tpr_at_fpr_0_001": ("nonmembers", nonmembers_for(0.001)),
    "tpr_at_fpr_0_01": ("nonmembers", nonmembers_for(0.01)),
    "tpr_at_fpr_0_1": ("nonmembers", nonmembers_for(0.1)),
    "ppv": ("nonmembers", nonmembers_for(0.1)),
    "tail": ("members", nonmembers_for(TAIL_FNR)),
}
"""Objective -> how many examples of which split, over all models, measure it."""

MOST_NAMED = 5  # classes or subgroups in a note

LEAST_POOL = 50  # examples that a decoder is fitted on, a fifth of which choose between decoders


def recipe_of(config: TrialConfig, splits: Splits) -> Recipe:
    """Return the defended recipe of a configuration."""
    from raysweep.training.recipe import plain_recipe

    plain = plain_recipe(config.model.model.build, config.training)
    return config.defences.apply(plain, splits.reference)


def check(config: TrialConfig, splits: Splits) -> None:
    """Raise a :class:`~raysweep.errors.RaysweepError` if the trial would fail."""
    for part in CHECKS:
        part(config, splits)


def _check_defences(config: TrialConfig, splits: Splits) -> None:
    config.defences.check(splits)
    if config.defences.is_private:
        check_expected_batch(config.training, len(splits.members))


def check_measured(config: TrialConfig, splits: Splits) -> None:
    """Raise :class:`DataError` if the data do not suit the configuration's `measure`."""
    if config.measure is not None:
        check_population(splits)
        _check_inversion_models(config, splits)
        check_canaries(splits, config.measure.canaries)


def check_objectives(names: Sequence[str], config: TrialConfig, splits: Splits) -> None:
    """Raise :class:`DataError` if the examples are too few to measure an objective."""
    models = 1 if config.measure is None else config.measure.models
    for name in names:
        figure = "ppv" if is_at_prior(name) else name
        of, needed = NEEDED.get(figure, ("nonmembers", 0))
        n = len(splits.members) if models > 1 else _judged(of, config, splits)
        if models * n >= needed:
            continue

        remedy = f"enlarge dataset.{of}, or take another objective"
        enough = 2 * ceil(needed / (2 * len(splits.members)))
        if of == "nonmembers" or models > 1:
            remedy = f"set measure.models to at least {max(4, enough)}, or {remedy}"
        times = f" from {models} models x {n:,}" if models > 1 else ""
        raise DataError(
            f"objective {name!r} needs at least {needed:,} decisions on {of}{times}",
            got=models * n,
            remedy=remedy,
        )


def unmeasured(config: TrialConfig, splits: Splits) -> Iterator[str]:
    """Yield which classes and which subgroups are too small for figures of their own.

    Of fewer than 2 LEAST examples in the population one of two models has fewer than LEAST.
    """
    if config.measure is None:
        return
    examples = population(splits)
    for kind in partitions(splits):
        counts = np.bincount(kind.of(examples), minlength=len(kind.names))
        named = zip(kind.names, counts, strict=True)
        few = [f"{name} ({count:,})" for name, count in named if count < 2 * LEAST]
        if few:
            more = ", ..." if len(few) > MOST_NAMED else ""
            yield (
                f"figures by {kind.kind} need at least {2 * LEAST} examples of the population: "
                f"none of {', '.join(few[:MOST_NAMED])}{more}"
            )


def check_here(config: TrialConfig) -> None:
    """Raise :class:`ModelError` if this machine does not have the precision of the training."""
    from raysweep.training.devices import autocast, default_device

    autocast(default_device(), config.training.precision)


def _judged(name: str, config: TrialConfig, splits: Splits) -> int:
    """Return how many examples of a split the membership attacks are judged on."""
    n = splits.sizes[name]
    return n - round((config.attacks.known_share or 0) * n)


def _check_sizes(config: TrialConfig, splits: Splits) -> None:
    """Raise :class:`DataError` if a figure would be computed from fewer than LEAST examples."""
    attacked = ("members", "nonmembers") if config.attacks.membership else ("members",)
    accuracy_on = "validation" if config.measure is None else config.measure.accuracy_on
    for name in dict.fromkeys([*attacked, "validation", accuracy_on]):
        if splits.sizes[name] < LEAST:
            figure = "attacks are" if name in attacked else "accuracy is"
            raise DataError(
                f"{figure} measured on at least {LEAST} examples of dataset.{name}",
                got=splits.sizes[name],
                remedy=f"enlarge dataset.{name}; some hundred give useful intervals",
            )


def _check_pool(config: TrialConfig, splits: Splits) -> None:
    needed = len(splits.members) + len(splits.nonmembers)
    for name, attack in config.attacks.membership.items():
        if "pool-shadows" in attack.needs and len(splits.pool) < needed:
            advice = "enlarge dataset.pool"
            if splits.is_published:
                advice += " (the published training set has to spare it), or leave `split` out"
            raise DataError(
                f"attack {name!r} needs a pool of at least members + nonmembers = {needed:,} "
                "examples",
                got=len(splits.pool),
                remedy=advice,
            )

    for name, inversion in config.attacks.inversion.items():
        if "pool" in inversion.needs and len(splits.pool) < LEAST_POOL:
            raise DataError(
                f"attack {name!r} needs at least {LEAST_POOL} pool examples to learn from, a fifth "
                "of which it holds out",
                got=len(splits.pool),
                remedy="enlarge dataset.pool",
            )


def _check_inversion_models(config: TrialConfig, splits: Splits) -> None:
    """Raise :class:`DataError` if decoders would learn from examples that models trained on."""
    assert config.measure is not None
    n = len(splits.members)
    if config.measure.inversion_models > 1 and len(splits.nonmembers) < n:
        raise DataError(
            f"measure.inversion_models trains on the {n:,} members and as many nonmembers, because "
            "the pool is the attacker's own",
            got=len(splits.nonmembers),
            remedy=f"enlarge dataset.nonmembers to {n:,}, or leave measure.inversion_models out",
        )


def _check_known(config: TrialConfig, splits: Splits) -> None:
    """Raise :class:`DataError` unless LEAST members and nonmembers are known, and LEAST are not."""
    share = config.attacks.known_share
    if share is None:
        return
    for name in ("members", "nonmembers"):
        total = len(getattr(splits, name))
        known = round(share * total)
        if min(known, total - known) < LEAST:
            raise DataError(
                f"attacks.known_share {share:g} leaves {known:,} {name} to learn from and "
                f"{total - known:,} to be judged on, and needs {LEAST} of each",
                remedy=f"enlarge dataset.{name}",
            )


def _with_any_noise(config: TrialConfig, n: int) -> TrialConfig:
    """Return the configuration with :meth:`DPSGD.with_any_noise` for ``n`` members."""
    parts = config.defences.in_order
    tried = (d.with_any_noise(config.training, n) if isinstance(d, DPSGD) else d for d in parts)
    return replace(config, defences=Defences.of(*tried))


def _check_model(config: TrialConfig, splits: Splits) -> None:
    """Build the model, to check its shape, its layers and whether DP-SGD allows them.

    A user's model also takes the steps in which training may fail.
    """
    import torch

    from raysweep.training.loop import isolated_rng
    from raysweep.trial.rehearsal import rehearse

    members = splits.members
    recipe = recipe_of(_with_any_noise(config, len(members)), splits)
    with isolated_rng(0, torch.device("cpu")):
        module = recipe.build_model(members.shape, members.n_classes)

    names = {"output", *(name for name, _ in module.named_modules() if name)}
    for name, attack in config.attacks.inversion.items():
        for layer in attack.layers:
            if layer is not None and layer not in names:
                hint = suggestion(layer, names)
                raise ModelError(f"attack {name!r}: the model has no layer {layer!r}{hint}")

    if config.defences.is_private:
        recipe.mechanism(len(members))
        if config.model.settings.get("norm") == "batch":
            from raysweep.defences.dpsgd.unsafe_layers import refuse_unsafe_layers

            refuse_unsafe_layers(module)
    if config.model.is_user_function:
        rehearse(recipe, module, members, config.model.name)


CHECKS: tuple[Callable[[TrialConfig, Splits], None], ...] = (
    _check_defences,
    _check_sizes,
    _check_pool,
    _check_known,
    check_measured,
    _check_model,
)
"""What :func:`check` looks at, in order. Only the last one imports torch."""
