"""The rules that every inversion attack keeps, on an undefended target."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from raysweep.attacks.contract import Knowledge, Observed, Reconstruction, check_reconstruction
from raysweep.records.columns import AttackRecord, ReconstructionRows
from raysweep.testing.rules import CPU, demand, demanding, digits, mlp, parameters
from raysweep.training.loop import train
from raysweep.training.target import TrainedTarget
from raysweep.trial.inversion_judge import judge_inversion


@functools.cache
def undefended() -> tuple[TrainedTarget, Knowledge]:
    """Return a target trained on 120 digits, and its attacker's pool."""
    target = train(mlp(32, "tanh", epochs=10), digits().members, seed=0, device=CPU)
    return target, Knowledge(pool=digits().pool)


def observed(layer: str | None) -> Observed:
    """Return what an attack sees of the members, or of the classes without a layer."""
    members, (target, _) = digits().members, undefended()
    if layer is None:
        return Observed(layer=None, activations=None, labels=np.unique(members.labels))
    activations = target.activations(members, layer)
    return Observed(layer=layer, activations=activations, labels=members.labels)


def rebuilt(attack: Any, layer: str | None, *, seed: int = 0) -> Reconstruction:
    """Return the reconstructions of an attack, checked for their shapes."""
    (target, knowledge), seen = undefended(), observed(layer)
    found = attack.reconstruct(target, seen, knowledge, seed=seed)
    check_reconstruction(found, (len(seen.labels), *digits().members.shape))
    return found  # type: ignore[no-any-return]


def judged(name: str, attack: Any, layer: str | None) -> tuple[AttackRecord, ReconstructionRows]:
    """Return the judge's rows of an attack."""
    target, knowledge = undefended()
    splits = digits()
    return judge_inversion(
        name,
        attack,
        layer,
        target,
        members=splits.members,
        nonmembers=splits.nonmembers,
        knowledge=knowledge,
        trial_id="t",
        seed=0,
    )


def rebuilds_more_than_chance(name: str, attack: Any, layer: str | None) -> None:
    """Check that it converges, and beats the mean image or rebuilds classes that are recognised."""
    rule = f"layer {layer}: it converges on an undefended target"
    with demanding(name, rule):
        record, _ = judged(name, attack, layer)
    demand(record.converged, name, rule, f"converged for a share of {record.converged_share}")

    if layer is None:
        low = record.recognition_rate_low or 0.0
        demand(low > 0.1, name, "more than a tenth of its classes is recognised", f"from {low}")
    else:
        rule = f"layer {layer}: its error is below the mean image's"
        mse, floor = record.mse or 0.0, record.floor_mean or 0.0
        demand(mse < floor, name, rule, f"{mse:.4g}, and {floor:.4g} for the mean image")


def gives_images(name: str, attack: Any, layer: str | None) -> None:
    """Check that its images are float32 in [0, 1], one for each example or class."""
    rule = f"layer {layer}: images are float32 in [0, 1], one for each example or class"
    with demanding(name, rule):
        images = rebuilt(attack, layer).images
    low, high = float(images.min()), float(images.max())
    holds = images.dtype == np.float32 and 0 <= low <= high <= 1
    demand(holds, name, rule, f"{images.dtype} in [{low}, {high}]")


def repeats_itself(name: str, attack: Any, layer: str | None) -> None:
    """Check that the same seed rebuilds the same, and leaves the target as it was."""
    rule, (target, _) = f"layer {layer}: the same seed rebuilds the same images", undefended()
    before = parameters(target)
    with demanding(name, rule):
        first, again = (rebuilt(attack, layer).images for _ in range(2))
    demand(np.array_equal(first, again), name, rule, "other images the second time")
    rule = "the target's weights stay as they were"
    demand(bool((parameters(target) == before).all()), name, rule, "other weights")


RULES: tuple[Callable[[str, Any, str | None], None], ...] = (
    rebuilds_more_than_chance,
    gives_images,
    repeats_itself,
)
