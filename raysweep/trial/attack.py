"""Run every attack of a configuration on the trained target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.attacks.contract import DatasetName, Knowledge, draw_known
from raysweep.attacks.membership.data_transfer import DataTransfer
from raysweep.attacks.shadows import TrainedShadow, train_shadows
from raysweep.config import sub_seed
from raysweep.data import Splits, concatenate, deal_key
from raysweep.records.columns import (
    AttackRecord,
    ExampleRow,
    ReconstructionRows,
    ScoreRows,
    SubsetRecord,
)
from raysweep.records.trial_config import TrialConfig
from raysweep.training.recipe import Recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial import example_rows, preflight
from raysweep.trial.inversion_judge import judge_inversion
from raysweep.trial.membership_judge import judge_membership
from raysweep.trial.recipe_judge import OfRecipe


@dataclass(frozen=True, kw_only=True)
class Found:
    """The rows that the attacks give."""

    attacks: tuple[AttackRecord, ...] = ()
    scores: tuple[ScoreRows, ...] = ()
    reconstructions: tuple[ReconstructionRows, ...] = ()
    examples: tuple[ExampleRow, ...] = ()
    subsets: tuple[SubsetRecord, ...] = ()

    def with_recipe(
        self, recipe: OfRecipe, config: TrialConfig, splits: Splits, target: TrainedTarget
    ) -> Found:
        """Return the rows with those of the recipe, and with those of the examples."""
        of_models = recipe.examples or tuple(
            example_rows.of_target(config, splits, target, self.attacks, self.scores)
        )
        is_inverted = any(row.figure == "inversion_mse" for row in of_models)
        rebuilt = (
            []
            if is_inverted
            else example_rows.of_inversion(config, self.attacks, self.reconstructions)
        )
        return dataclasses.replace(
            self,
            attacks=(*self.attacks, *recipe.attacks),
            examples=(*of_models, *rebuilt),
            subsets=recipe.subsets,
        )


def attack_target(
    config: TrialConfig,
    splits: Splits,
    other_splits: Mapping[str, Splits],
    recipe: Recipe,
    target: TrainedTarget,
) -> Found:
    """Return the rows of every attack on the target, ``recipe`` being what it was trained with.

    ``other_splits`` are those of the other data sets that attacks read, by their deal.
    """
    knowledge = _knowledge(config, splits, _Shadows(config, splits, other_splits, recipe, target))
    given: dict[str, Any] = {
        "members": splits.members,
        "nonmembers": splits.nonmembers,
        "knowledge": knowledge,
        "trial_id": config.trial_id,
        "seed": config.seed,
    }
    judged = [
        judge_membership(name, attack, target, **given)
        for name, attack in config.attacks.membership.items()
    ]
    rebuilt = [
        judge_inversion(name, attack, layer, target, **given)
        for name, attack in config.attacks.inversion.items()
        for layer in attack.layers
    ]
    return Found(
        attacks=tuple(record for record, _ in (*judged, *rebuilt)),
        scores=tuple(scores for _, scores in judged),
        reconstructions=tuple(images for _, images in rebuilt),
    )


def _knowledge(config: TrialConfig, splits: Splits, shadows: _Shadows) -> Knowledge:
    """Return the attackers' knowledge: the pool, shadows, public data, and known members."""
    share, known = config.attacks.known_share, None
    if share is not None:
        known = draw_known(splits.members, splits.nonmembers, share, seed=config.seed)
    return Knowledge(
        pool=splits.pool, train_shadows=shadows.train, reference=splits.reference, known=known
    )


@dataclass(frozen=True)
class _Shadows:
    """Trains shadow models by the target's own recipe."""

    config: TrialConfig
    splits: Splits
    other_splits: Mapping[str, Splits]
    recipe: Recipe
    target: TrainedTarget

    def train(self, numbers: Sequence[int], dataset: DatasetName | None) -> list[TrainedShadow]:
        """Return shadows on the pool, or on another data set dealt in the same sizes."""
        seed, device, n = self.config.seed, self.target.device, len(self.splits.members)
        if dataset is None:
            pool = self.splits.pool
            return train_shadows(self.recipe, pool, n, numbers, seed=seed, device=device)

        other = DataTransfer(dataset=dataset).other(self.config.dataset)
        splits = self.other_splits[deal_key(other, seed)]
        recipe = preflight.recipe_of(self.config, splits)
        examples = concatenate(splits.members, splits.nonmembers)
        seed, n = sub_seed(seed, "transfer"), len(splits.members)
        return train_shadows(recipe, examples, n, numbers, seed=seed, device=device)
