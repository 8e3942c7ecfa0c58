"""Inversion attacks on several models of a recipe: the mean error of their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import intervals
from raysweep.attacks.contract import Knowledge
from raysweep.data import Split
from raysweep.records.columns import AttackRecord
from raysweep.records.trial_config import TrialConfig
from raysweep.training.signals import Floats
from raysweep.training.target import TrainedTarget
from raysweep.trial.inversion_judge import N_REBUILT, judge_inversion

AVERAGED = (
    "mse_nonmembers",
    "mse_gap",
    "ssim",
    "ssim_nonmembers",
    "floor_mean",
    "floor_label",
    "converged_share",
    "cost",
)

WITHOUT_INTERVAL = (
    "mse_nonmembers_low",
    "mse_nonmembers_high",
    "mse_gap_low",
    "mse_gap_high",
)


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """An attack on the models of a recipe: its row, and the errors (pairs, n) of n ``examples``.

    Of the two models of a pair, each rebuilds the examples that it was trained on.
    """

    row: AttackRecord
    errors: Floats
    examples: NDArray[np.int64]


class Inverter:
    """Rebuilds what each of some models was trained on, one model after the other.

    ``examples`` are the population. At most N_REBUILT examples of each half of it are rebuilt, the
    same ones for every model.
    """

    def __init__(self, config: TrialConfig, examples: Split, pool: Split) -> None:
        self._config, self._examples = config, examples
        self._knowledge = Knowledge(pool=pool)
        order = np.random.default_rng(config.seed).permutation(len(examples))
        self._chosen = np.sort(order[: 2 * N_REBUILT])
        self._found: list[list[tuple[AttackRecord, dict[int, float]]]] = []

    def invert(self, target: TrainedTarget, inside: NDArray[np.bool_]) -> None:
        """Attack one model, which was trained on the examples ``inside`` (n,)."""
        is_inside = inside[self._chosen]
        members, nonmembers = (
            self._examples.rows(self._chosen[some]) for some in (is_inside, ~is_inside)
        )
        attacks = self._config.attacks.inversion.items()
        rows = []
        for name, attack in attacks:
            for layer in attack.layers:
                if layer is None:
                    continue  # whole classes, which every half holds
                record, images = judge_inversion(
                    name,
                    attack,
                    layer,
                    target,
                    members=members,
                    nonmembers=nonmembers,
                    knowledge=self._knowledge,
                    trial_id=self._config.trial_id,
                    seed=self._config.seed,
                )
                ids, errors = images.errors or ((), ())
                rows.append((record, dict(zip(map(int, ids), map(float, errors), strict=True))))
        self._found.append(rows)

    def results(self) -> list[Rebuilt]:
        """Return what each attack found on all models."""
        ids = self._examples.indices[self._chosen]
        by_attack = zip(*self._found, strict=True)
        found = [_combine(list(of_models), ids) for of_models in by_attack]
        return [one for one in found if one is not None]


def _combine(
    of_models: Sequence[tuple[AttackRecord, dict[int, float]]], ids: NDArray[np.int64]
) -> Rebuilt | None:
    """Return the row of an attack on all models; None where an image of one is not finite."""
    records = [record for record, _ in of_models]
    halves = [errors for _, errors in of_models]
    pairs = [one | other for one, other in zip(halves[0::2], halves[1::2], strict=True)]
    if any(record.mse is None for record in records):
        return None

    errors = np.array([[pair[int(i)] for i in ids] for pair in pairs])
    mse = intervals.of_crossed_mean(errors)
    averaged: dict[str, Any] = {
        name: _mean([getattr(record, name) for record in records]) for name in AVERAGED
    }
    unknown: dict[str, Any] = dict.fromkeys(WITHOUT_INTERVAL)
    row = replace(
        records[0],
        **averaged | unknown | mse.columns("mse"),
        models=len(records),
        decoder=", ".join(sorted({r.decoder for r in records if r.decoder})) or None,
        converged=all(record.converged for record in records),
        seconds=sum(record.seconds or 0.0 for record in records),
    )
    return Rebuilt(row=row, errors=errors, examples=ids)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
