"""Models trained at once against models trained one after the other, for the GPU's benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_space import MODELS, load, seconds_of
from raysweep import data
from raysweep.data import Split, Splits
from raysweep.training.devices import is_lack_of_memory
from raysweep.training.packing import Packing, train_all
from raysweep.training.recipe import Recipe
from raysweep.trial.preflight import recipe_of


def compare_packed(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the seconds a model of K models at once, and of at most MOST_ALONE one by one."""
    found = {}
    for model in ("mlp", "thesis_cnn"):
        config = load(quick, model=MODELS[model]).baseline()
        splits = data.load(config.dataset, seed=config.seed)
        recipe = recipe_of(config, splits)
        for k in (1, 4) if quick else (1, 4, 16, 64):
            found[f"{model}_{k}"] = pack(recipe, halves(splits, k), device)
    return found


MOST_ALONE = 8
"""Most models that are trained one after the other: each takes as long as the one before."""


def pack(recipe: Recipe, members: Sequence[Split], device: torch.device) -> dict[str, Any]:
    """Return the seconds a model one by one, of all at once, and as a sweep would train them."""
    seeds, few = range(len(members)), members[:MOST_ALONE]
    one_by_one = Packing(recipe, few, seeds[: len(few)], device)
    alone = seconds_of(lambda: list(one_by_one.train_one_by_one()), device) / len(few)
    found: dict[str, Any] = {"seconds_a_model_alone": alone, "models_alone": len(few)}

    packing = Packing(recipe, members, seeds, device)
    if not packing.is_possible:
        return found | {"reason": "one model, or layers that cannot be packed: one by one"}
    try:
        together = seconds_of(packing.train, device) / len(members)
        found |= {"seconds_a_model": together, "times_as_fast": alone / together}
    except RuntimeError as error:
        if not is_lack_of_memory(error):
            raise
        found |= {"reason": "the memory is too small for all at once"}

    chosen = seconds_of(lambda: train_all(recipe, members, seeds=seeds, device=device), device)
    return found | {
        "seconds_a_model_of_a_sweep": chosen / len(members),
        "is_chosen": packing.is_faster,
    }


def halves(splits: Splits, k: int) -> list[Split]:
    """Return ``k`` random sets of as many examples of the pool as there are members."""
    n = min(len(splits.members), len(splits.pool))
    orders = [np.random.default_rng(number).permutation(len(splits.pool)) for number in range(k)]
    return [splits.pool.rows(order[:n]) for order in orders]


def packed_rate(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the trainings a minute of eight such models packed in one process."""
    k, config = 2 if quick else 8, load(quick).config({"dropout": 0.35, "l2": 0.0})
    splits = data.load(config.dataset, seed=config.seed)
    packing = Packing(recipe_of(config, splits), halves(splits, k), range(k), device)
    packing.train()  # warm up
    return {"models": k, "trainings_per_minute": 60 * k / seconds_of(packing.train, device)}
