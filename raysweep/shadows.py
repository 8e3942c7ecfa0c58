"""Shadow models: the target's whole recipe, on the attacker's data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from raysweep.config import sub_seed
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.train import Recipe, TrainedTarget, train


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """A model whose members the attacker knows: ``members`` trained it, ``nonmembers`` did not."""

    target: TrainedTarget
    members: Split
    nonmembers: Split


def train_shadow(
    recipe: Recipe, pool: Split, n_members: int, number: int, *, seed: int, device: torch.device
) -> Shadow:
    """Return shadow ``number``: trained on ``n_members`` of the pool, as many as the target has.

    Raises:
        DataError: the pool leaves no example out.

    """
    if len(pool) <= n_members:
        law = f"a shadow trains on {n_members:,} examples of the pool and needs some left over"
        raise DataError(f"{law}, got a pool of {len(pool):,}; make dataset.pool larger")
    own = sub_seed(seed, "shadow", number)
    order = np.random.default_rng(sub_seed(own, "deal")).permutation(len(pool))
    members, nonmembers = pool.rows(order[:n_members]), pool.rows(order[n_members:])
    target = train(recipe, members, seed=own, device=device)
    return Shadow(target=target, members=members, nonmembers=nonmembers)
