"""Train K models of one recipe on halves of one population, and keep what each says of all of it.

The trial's own target is the first of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import BY_LOGITS, LIKELIHOOD_RATIOS
from raysweep.attacks.contract import Knowledge, MembershipAttack
from raysweep.config import sub_seed
from raysweep.data import Split, Splits
from raysweep.records.trial_config import TrialConfig
from raysweep.training import signals
from raysweep.training.packing import each_target
from raysweep.training.recipe import Recipe
from raysweep.training.signals import Floats
from raysweep.training.target import TrainedTarget
from raysweep.trial.inversion_of_recipe import Inverter, Rebuilt
from raysweep.trial.population import halves, population

if TYPE_CHECKING:
    import torch

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The scores (K, 2n) that an attack gave the population, model by model, and how long it took.

    ``thresholds`` (K,) are the attack's own, None if it sets none.
    """

    scores: Floats
    thresholds: Floats | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """What K models say of a population of 2n examples; the models themselves are gone.

    ``inside`` (K, 2n) says which examples trained which model, ``odds`` (K, 2n) are the log-odds
    that each model gives to the label of each, and ``is_right`` (K, 2n) and
    ``is_right_on_judged`` (K, examples that accuracy is measured on) which they classify correctly.
    ``attacks`` are the scores of each attack. ``seeds`` are those of the trainings.
    ``rebuilt`` is what inversion found on several models.
    """

    inside: Bools
    odds: Floats
    is_right: Bools
    is_right_on_judged: Bools
    attacks: Mapping[str, Judged]
    seeds: tuple[int, ...]
    rebuilt: Sequence[Rebuilt] = ()


def train_ensemble(
    config: TrialConfig, splits: Splits, recipe: Recipe, target: TrainedTarget
) -> Ensemble:
    """Return an ensemble of ``config.measure.models`` models, of which ``target`` is the first.

    Only the models that are trained at once, and their halves of the data, are in memory.
    """
    assert config.measure is not None
    k = config.measure.models
    examples = population(splits)
    inside = halves(len(splits.members), k, seed=config.seed)
    others = tuple(sub_seed(config.seed, "ensemble", number) for number in range(1, k))
    attacks = config.attacks.of_recipe

    judged: Split = getattr(splits, config.measure.accuracy_on)
    looks: list[Look] = []
    inverter = Inverter(config, examples, splits.pool)
    for number, model in enumerate(
        itertools.chain([target], train_each(recipe, examples, inside[1:], others, target.device))
    ):
        model.keep_logits(examples, np.flatnonzero(inside[number]))  # of its members
        looks.append(look(model, examples, judged, attacks, splits.pool))
        if number < config.measure.inversion_models > 1:
            inverter.invert(model, inside[number])
        del model  # and its members, before the next is trained

    return Ensemble(
        inside=inside,
        odds=np.stack([look.odds for look in looks]),
        is_right=np.stack([look.is_right for look in looks]),
        is_right_on_judged=np.stack([look.is_right_on_judged for look in looks]),
        attacks={name: attack_all(name, attack, looks, inside) for name, attack in attacks.items()},
        seeds=(sub_seed(config.seed, "target"), *others),
        rebuilt=inverter.results(),
    )


def train_each(
    recipe: Recipe,
    examples: Split,
    inside: Bools,
    seeds: tuple[int, ...],
    device: torch.device,
) -> Iterator[TrainedTarget]:
    """Yield a model for each row of ``inside`` (models, n), trained on the examples inside it."""
    parts = (examples.rows(np.flatnonzero(row)) for row in inside)
    yield from each_target(recipe, parts, seeds=seeds, device=device)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is kept of one model: of the population (2n,), and of what accuracy is measured on."""

    odds: Floats
    is_right: Bools
    is_right_on_judged: Bools
    scores: Mapping[str, tuple[Floats, float | None, float]]  # by attack, with threshold, seconds


def look(
    model: TrainedTarget,
    examples: Split,
    judged: Split,
    attacks: Mapping[str, MembershipAttack],
    pool: Split,
) -> Look:
    """Return what is kept of a model, with the scores of those ``attacks`` that see it alone."""
    logits = model.logits(examples)
    scores = {}
    alone = {n: attack for n, attack in attacks.items() if isinstance(attack, BY_LOGITS)}
    for name, attack in alone.items():
        start = time.perf_counter()
        knowledge = Knowledge(pool=pool).grant(attack, model)
        found = attack.score(model, examples, knowledge, seed=0)  # none of them draws anything
        scores[name] = found.values, found.threshold, time.perf_counter() - start

    return Look(
        odds=signals.label_log_odds(logits, examples.labels),
        is_right=logits.argmax(axis=1) == examples.labels,
        is_right_on_judged=model.logits(judged).argmax(axis=1) == judged.labels,
        scores=scores,
    )


def attack_all(name: str, attack: MembershipAttack, looks: Sequence[Look], inside: Bools) -> Judged:
    """Return what an attack says of the examples (n,) that all models were looked at with."""
    if isinstance(attack, BY_LOGITS):
        return _gather(looks, name)
    return _compare(attack, np.stack([look.odds for look in looks]), inside)


def _gather(looks: Sequence[Look], name: str) -> Judged:
    """Return the scores of an attack on each model alone."""
    values, thresholds, seconds = zip(*(look.scores[name] for look in looks), strict=True)
    return Judged(
        scores=np.stack(values),
        thresholds=None if None in thresholds else np.array(thresholds),
        seconds=sum(seconds),
    )


def _compare(attack: MembershipAttack, odds: Floats, inside: Bools) -> Judged:
    """Return the scores of a likelihood ratio, see :func:`scores_online`."""
    assert isinstance(attack, LIKELIHOOD_RATIOS)
    start = time.perf_counter()
    scores = scores_online(attack, odds, inside)
    even = np.zeros(len(scores))  # an example is then as likely a member as not
    return Judged(scores=scores, thresholds=even, seconds=time.perf_counter() - start)


def scores_online(attack: MembershipAttack, odds: Floats, inside: Bools) -> Floats:
    """Return the scores (K, 2n) of each model against the others, from log-odds (K, 2n).

    The complement of the model that is attacked is left out of its references: it was trained on
    an example exactly if the attacked model was not, so that it would give the answer away. Each
    example then has (K - 2) / 2 references that saw it, and as many that did not.
    """
    scores = np.empty(odds.shape)
    for number in range(len(odds)):
        others = np.flatnonzero(np.arange(len(odds)) // 2 != number // 2)
        scores[number] = attack.score_online(  # type: ignore[attr-defined]
            odds[number], odds[others].T, inside[others].T
        )
    return scores
