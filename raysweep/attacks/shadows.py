"""Shadow models: the target's whole recipe, on the attacker's data."""

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
    """A model whose members the attacker knows: ``members`` trained it, ``nonmembers`` did not."""

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
    """Return shadows, each trained on ``n_members`` of the pool, as many as the target has.

    A shadow's ``number`` and the seed say all of it: which others are trained with it does not.

    Raises:
        DataError: the pool leaves no example out.

    """
    if len(pool) <= n_members:
        law = f"a shadow trains on {n_members:,} examples of the pool and needs some left over"
        raise DataError(f"{law}, got a pool of {len(pool):,}; make dataset.pool larger")
    seeds = [sub_seed(seed, "shadow", number) for number in numbers]
    orders = [np.random.default_rng(sub_seed(s, "deal")).permutation(len(pool)) for s in seeds]
    members = [pool.rows(order[:n_members]) for order in orders]
    targets = train_all(recipe, members, seeds=seeds, device=device)
    return [
        TrainedShadow(target=target, members=trained_on, nonmembers=pool.rows(order[n_members:]))
        for target, trained_on, order in zip(targets, members, orders, strict=True)
    ]
