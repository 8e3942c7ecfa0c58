"""Shadow models: trained by the target's whole recipe on the attacker's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from raysweep.config import sub_seed
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.training.packing import train_all
from raysweep.training.recipe import Recipe
from raysweep.training.target import TrainedTarget


@dataclass(frozen=True, kw_only=True)
class TrainedShadow:
    """A model that the attacker trained on ``members`` and not on ``nonmembers``."""

    target: TrainedTarget
    members: Split
    nonmembers: Split


def train_shadows(
    recipe: Recipe,
    pool: Split,
    n_members: int,
    numbers: Sequence[int],
    *,
    seed: int,
    device: torch.device,
) -> list[TrainedShadow]:
    """Return a shadow for each of ``numbers``, trained on ``n_members`` examples of the pool.

    A shadow depends on its number and the seed only, not on the others that are trained with it.

    Raises:
        DataError: the pool has no example left for the nonmembers.

    """
    if len(pool) <= n_members:
        raise DataError(
            f"the pool must have more than the {n_members:,} examples that train a shadow",
            got=len(pool),
            remedy="enlarge dataset.pool",
        )

    seeds = [sub_seed(seed, "shadow", number) for number in numbers]
    orders = [np.random.default_rng(sub_seed(s, "deal")).permutation(len(pool)) for s in seeds]
    members = [pool.rows(order[:n_members]) for order in orders]

    targets = train_all(recipe, members, seeds=seeds, device=device)
    return [
        TrainedShadow(target=target, members=trained_on, nonmembers=pool.rows(order[n_members:]))
        for target, trained_on, order in zip(targets, members, orders, strict=True)
    ]
