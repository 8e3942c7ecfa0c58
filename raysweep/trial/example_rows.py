"""What each model and each example has in the figures of a trial, so that trials can be compared.

Two trials of a sweep have the same examples and, with `measure`, the same halves. Their figures can
then be compared example by example and pair by pair, which tells far smaller differences apart than
their intervals do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from raysweep.attacks import metrics, parts, recipe_metrics
from raysweep.attacks.metrics import FPRS, TAIL_FNR
from raysweep.data import Splits
from raysweep.records.columns import AttackRecord, ExampleRow, ReconstructionRows, ScoreRows
from raysweep.records.priors import figures_at
from raysweep.records.trial_config import TrialConfig
from raysweep.training import signals
from raysweep.training.signals import Floats
from raysweep.training.target import TrainedTarget
from raysweep.trial.ensemble import Ensemble
from raysweep.trial.membership_judge import judged_by
from raysweep.trial.population import population
from raysweep.trial.verdict import counting_inversion, strongest_at

SEED = 0  # by which ties are broken: the same for all trials


def of_recipe(
    config: TrialConfig, splits: Splits, ensemble: Ensemble, attacks: Sequence[AttackRecord]
) -> Iterator[ExampleRow]:
    """Yield the rows of the figures that are of a recipe."""
    inside, ids = ensemble.inside, population(splits).indices
    judged = {name: (attack.scores, attack.thresholds) for name, attack in ensemble.attacks.items()}
    assert config.measure is not None
    right, judged_on = ensemble.is_right_on_judged, getattr(splits, config.measure.accuracy_on)
    yield _row("accuracy", right.astype(float), judged_on.indices)
    yield _row("tail", parts.of_tpr(-ensemble.odds, ~inside, TAIL_FNR, seed=SEED), ids)
    for figure, cells in _of_membership(config, attacks, judged, inside):
        yield _row(figure, cells, ids)

    best = counting_inversion(config, [rebuilt.row for rebuilt in ensemble.rebuilt])
    for rebuilt in ensemble.rebuilt:
        if rebuilt.row is best:
            yield _row_of_units("inversion_mse", rebuilt.errors, rebuilt.examples)


def of_target(
    config: TrialConfig,
    splits: Splits,
    target: TrainedTarget,
    attacks: Sequence[AttackRecord],
    scores: Sequence[ScoreRows],
) -> Iterator[ExampleRow]:
    """Yield the rows of the figures of the one model of a trial."""
    validation = splits.validation
    right = target.logits(validation).argmax(axis=1) == validation.labels
    yield _row("accuracy", right[None].astype(float), validation.indices)

    examples, truth = judged_by(splits)
    odds = signals.label_log_odds(target.logits(examples), examples.labels)
    yield _row(
        "tail", parts.of_tpr(-odds[None], ~truth[None], TAIL_FNR, seed=SEED), examples.indices
    )

    by_name = {rows.attack: rows for rows in scores}
    judged = {
        name: (rows.score[None], None if rows.threshold is None else np.array([rows.threshold]))
        for name, rows in by_name.items()
    }
    for rows in scores[:1]:  # all attacks are judged on the same examples
        for figure, cells in _of_membership(config, attacks, judged, rows.member[None]):
            yield _row(figure, cells, rows.example)


def of_inversion(
    config: TrialConfig,
    attacks: Sequence[AttackRecord],
    images: Sequence[ReconstructionRows],
) -> Iterator[ExampleRow]:
    """Yield the row of the reconstruction error that counts."""
    best = counting_inversion(config, attacks)
    rebuilt = (record for record in attacks if record.family == "inversion")
    for record, rows in zip(rebuilt, images, strict=True):
        if record is best and rows.errors is not None:
            ids, errors = rows.errors
            yield _row("inversion_mse", errors[None], ids)


def _of_membership(
    config: TrialConfig,
    attacks: Sequence[AttackRecord],
    judged: Mapping[str, tuple[Floats, Floats | None]],
    inside: Any,
) -> Iterator[tuple[str, Floats]]:
    """Yield figure -> parts (K, n), each of the attack that finds most there."""
    counted = [name for name in config.attacks.counted if name in judged]
    winner, _ = strongest_at(config, attacks, "auc")
    if winner is None:
        return
    chosen = counted if config.attacks.attack_auc == "mean" else [winner]
    yield "attack_auc", np.mean([parts.of_auc(judged[n][0], inside) for n in chosen], axis=0)

    least = None
    for label, fpr in FPRS.items():
        winner, _ = strongest_at(config, attacks, f"tpr_at_fpr_{label}")
        if winner is not None:
            cells = parts.of_tpr(judged[winner][0], inside, fpr, seed=SEED)
            least = least or (cells, fpr)
            yield f"tpr_at_fpr_{label}", cells
    if least is not None:
        for figure, prior in figures_at(config.attacks.prior).items():
            yield figure, _of_ppv(*least, prior=prior)

    winner, _ = strongest_at(config, attacks, "advantage")
    thresholds = None if winner is None else judged[winner][1]
    if winner is not None and thresholds is not None:
        yield "advantage", parts.of_advantage(judged[winner][0], inside, thresholds)


def _of_ppv(cells: Floats, fpr: float, *, prior: float) -> Floats:
    """Return parts of the PPV from those of the TPR, along the tangent of the one in the other."""
    tpr = float(cells.mean())
    ppv = metrics.ppv(tpr, fpr, prior)
    slope = ppv * (1 - ppv) / tpr if tpr > 0 else prior / (1 - prior) / fpr
    return ppv + slope * (cells - tpr)


def _row(figure: str, cells: Floats, examples: Any) -> ExampleRow:
    """Return the row of a figure from its parts (K, n): of models, and of examples."""
    units = recipe_metrics.by_pair(cells) if len(cells) > 1 else cells
    return _row_of_units(figure, units, examples)


def _row_of_units(figure: str, units: Floats, examples: Any) -> ExampleRow:
    """Return the row of a figure from its parts (units, n): of pairs of models, or of one model."""
    order = np.argsort(examples)
    return ExampleRow(
        figure=figure,
        of_models=units.mean(axis=1),
        example=np.asarray(examples)[order],
        of_examples=units.mean(axis=0)[order],
    )
