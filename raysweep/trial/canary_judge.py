"""The figures of canaries: of models that half of them are put into, by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.config import sub_seed
from raysweep.data import Splits
from raysweep.defences.dpsgd import tradeoff
from raysweep.records.columns import AttackRecord, SubsetRecord
from raysweep.records.trial_config import TrialConfig
from raysweep.training.recipe import Recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial.canary_population import plant, planted_halves
from raysweep.trial.claim import refuse_broken_claim, rows_of_models
from raysweep.trial.ensemble import Look, attack_all, look, train_each
from raysweep.trial.population import population
from raysweep.trial.subset_judge import membership
from raysweep.trial.verdict import strongest_at

if TYPE_CHECKING:
    from raysweep.training.recipe import PrivacySpent


def of_canaries(
    config: TrialConfig,
    splits: Splits,
    recipe: Recipe,
    target: TrainedTarget,
    attacks: Sequence[AttackRecord],
) -> Iterator[SubsetRecord]:
    """Train as many models as the recipe is measured on, with canaries; yield a row for each kind.

    They are none of the recipe's other models, so that no other figure knows of a canary. The
    attack is that with the highest AUC on ordinary examples. LiRA takes the variance of each kind
    for itself. ``target`` is the trial's own model, of the same recipe.

    Raises:
        PrivacyError: the attack finds more canaries than epsilon allows.

    """
    assert config.measure is not None
    k, canaries, seed = config.measure.models, config.measure.canaries, config.seed
    name, _ = strongest_at(config, attacks, "auc")
    if not canaries.counts or name is None:
        return

    attack = config.attacks.of_recipe[name]
    planted = plant(population(splits), canaries, seed=seed)
    inside = planted_halves(planted, k, seed=seed)
    seeds = tuple(sub_seed(seed, "canaries", "model", number) for number in range(k))
    parts = {kind: planted.examples.rows(rows) for kind, rows in planted.canaries.items()}
    looks: dict[str, list[Look]] = {kind: [] for kind in parts}
    for model in train_each(recipe, planted.examples, inside, seeds, target.device):
        for kind, part in parts.items():
            looks[kind].append(look(model, part, part, {name: attack}, splits.pool))

    for kind, rows in planted.canaries.items():
        scores = attack_all(name, attack, looks[kind], inside[:, rows]).scores
        figures_seed = sub_seed(seed, "canaries", "figures", kind)
        held = rows_of_models(f"{name} on {kind} canaries", scores, inside[:, rows])
        records = 2 if kind == "duplicated" else 1
        refuse_broken_claim([held], target.privacy, records, seed=seed)
        every = np.ones(len(rows), dtype=bool)
        yield SubsetRecord(
            trial_id=config.trial_id,
            kind="canary",
            subset=kind,
            n=len(rows),
            models=k,
            attack=name,
            **membership(scores, inside[:, rows], every, seed=figures_seed),
            **_bounds(target.privacy, records),
        )


def _bounds(spent: PrivacySpent | None, records: int) -> dict[str, Any]:
    """Return how many records a canary is, and what any attacker finds of so many under DP-SGD."""
    bounds = {} if spent is None else tradeoff.bounds_on(spent, records=records)
    return {"records": records, **bounds}
