"""One trial, from a configuration to its records. Read this file first.

    splits -> recipe -> defended recipe -> target -> attacks -> records

``raysweep trial`` and the workers of a sweep call the same :func:`run_trial`, without Ray.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from math import inf
from typing import Any, Protocol

import torch

from raysweep import data
from raysweep.attacks.intervals import proportion
from raysweep.config import sub_seed
from raysweep.data import Dataset, Splits, deal_key
from raysweep.records.columns import (
    EpochRecord,
    Rung,
    Status,
    TrialRecord,
    TrialResult,
)
from raysweep.records.priors import columns_at
from raysweep.records.provenance import failed_record, now, versions
from raysweep.records.trial_config import TrialConfig
from raysweep.training.devices import default_device
from raysweep.training.loop import Epoch, train
from raysweep.training.target import TrainedTarget, predict
from raysweep.trial import membership_judge, preflight, verdict
from raysweep.trial.attack import Found, attack_target
from raysweep.trial.claim import refuse_broken_claim
from raysweep.trial.faults import machine_failure, reason
from raysweep.trial.finite import naming_splits
from raysweep.trial.machine import PeakMemory, device_name, limit_threads
from raysweep.trial.recipe_judge import judge_recipe
from raysweep.trial.rungs import rung_figures
from raysweep.trial.saved_model import Trained


class Load(Protocol):
    """Gives the splits of a data set, the same ones for the same seed."""

    def __call__(self, dataset: Dataset, *, seed: int) -> Splits:
        """Return the splits."""


def run_trial(
    config: TrialConfig,
    *,
    load: Load = data.load,
    device: torch.device | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    on_rung: Callable[[Rung], bool] | None = None,
    on_target: Callable[[Trained], None] | None = None,
    rungs: Collection[int] = (),
    memory_parts: int = 1,
    threads: int = 1,
    secure_noise: bool = False,
) -> TrialResult:
    """Return the rows of one configuration: train the target, attack it, measure.

    ``load`` gives the splits of a data set. ``on_epoch`` is called after every epoch. After the
    epochs in ``rungs`` the model is attacked cheaply and ``on_rung`` decides: if it returns False,
    the status is ``pruned``, the figures are those of that epoch, and no full attack is run.
    ``on_target`` is called once, with the trained target, after the attacks; :func:`save_model`
    writes it. ``memory_parts`` makes physical batches that many times smaller. ``threads`` is how
    many CPU threads the trial uses. With ``secure_noise`` DP-SGD draws noise and batches from the
    operating system: nothing can repeat them, and figures differ from run to run.

    Raises:
        RaysweepError: the configuration cannot be run as asked; nothing is recorded.

    """
    device = device or default_device()
    with limit_threads(threads):
        trial = _Trial(config, load, device, on_epoch, on_rung, rungs, memory_parts, secure_noise)
        return trial.run(on_target or (lambda _trained: None))


def run_recorded(
    config: TrialConfig,
    *,
    load: Load = data.load,
    device: torch.device | None = None,
    on_rung: Callable[[Rung], bool] | None = None,
    rungs: Collection[int] = (),
    memory_parts: int = 1,
    threads: int = 1,
) -> TrialResult:
    """Return the rows of one configuration, with status ``failed`` and the reason if it fails.

    Raises:
        MachineFailure: the error is none of those that a configuration causes, so that the trial is
            tried again on another worker, see :mod:`raysweep.trial.faults`.

    """
    try:
        return run_trial(
            config,
            load=load,
            device=device,
            on_rung=on_rung,
            rungs=rungs,
            memory_parts=memory_parts,
            threads=threads,
        )
    except Exception as error:
        failure, why = machine_failure(error), reason(error)

    if failure is not None:
        raise failure  # without the error that it follows from, which Ray may be unable to send
    return TrialResult(trial=failed_record(config, why))


class _Trial:
    """The state of one trial while it runs. :meth:`run` calls its steps in order."""

    def __init__(
        self,
        config: TrialConfig,
        load: Load,
        device: torch.device,
        on_epoch: Callable[[EpochRecord], None] | None,
        on_rung: Callable[[Rung], bool] | None,
        rungs: Collection[int],
        memory_parts: int,
        secure_noise: bool,
    ) -> None:
        self.config, self.load, self.device = config, load, device
        self.memory_parts, self.secure_noise = memory_parts, secure_noise
        self.report = on_epoch or (lambda _record: None)
        self.decide = on_rung or (lambda _rung: True)
        self.rungs = {epoch for epoch in rungs if epoch < config.training.epochs}
        self.stopped: TrialResult | None = None
        self.epochs: list[EpochRecord] = []
        self.found = Found()

    def run(self, on_target: Callable[[Trained], None]) -> TrialResult:
        """Return the rows of the trial."""
        self.started_at, self.memory = now(), PeakMemory(self.device)
        seed = self.config.seed
        self.other_splits = {  # loaded first, so that a missing data set fails before training
            deal_key(other, seed): self.load(other, seed=seed)
            for other in self.config.attacks.other_datasets(self.config.dataset)
        }
        self.splits = self.load(self.config.dataset, seed=seed)
        preflight.check(self.config, self.splits)
        recipe = preflight.recipe_of(self.config, self.splits)
        self.recipe = replace(recipe, memory_parts=self.memory_parts)

        with naming_splits(self.splits):
            target, train_seconds = self._train()
            if self.stopped is not None:
                return self.stopped

            attacks_start = time.perf_counter()
            self.found = attack_target(
                self.config, self.splits, self.other_splits, self.recipe, target
            )
            refuse_broken_claim(
                self.found.scores, target.privacy, self.splits.group_records, seed=self.config.seed
            )
            attack_seconds = time.perf_counter() - attacks_start
            of_recipe = judge_recipe(self.config, self.splits, self.recipe, target)
            self.found = self.found.with_recipe(of_recipe, self.config, self.splits, target)
        on_target(Trained(config=self.config, target=target, splits=self.splits))
        return self._result(
            "ok",
            train_seconds=train_seconds,
            attack_seconds=attack_seconds,
            **verdict.privacy(target.privacy, self.splits.group_records),
            collapsed=self.epochs[-1].collapsed,
            **verdict.inversion_columns(
                verdict.counting_inversion(self.config, self.found.attacks)
            ),
            **(of_recipe.figures or self._of_target(target)),
        )

    def _of_target(self, target: TrainedTarget) -> dict[str, Any]:
        """Return the figures of the target that are the recipe's where one is measured."""
        members = self.splits.members
        right = target.logits(members).argmax(axis=1) == members.labels
        accuracy, n = self.epochs[-1].accuracy, len(self.splits.validation)
        return {
            "train_accuracy": float(right.mean()),
            **proportion(round(accuracy * n), n).columns("accuracy"),
            **verdict.strongest_membership(self.config, self.found.attacks, self.found.scores),
            **membership_judge.judge_tail(target, self.splits, seed=self.config.seed),
        }

    def _result(self, status: Status, **figures: Any) -> TrialResult:
        """Return all rows so far, with these ``figures`` in the row of ``trials``."""
        sizes: dict[str, Any] = {f"n_{name}": n for name, n in self.splits.sizes.items()}
        unmeasured = {"ppv_at_priors": dict.fromkeys(columns_at(self.config.attacks.prior))}
        record = TrialRecord(
            trial_id=self.config.trial_id,
            recipe=self.config.recipe,
            status=status,
            defences=self.config.defences,
            seed=self.config.seed,
            config=self.config.to_json(),
            versions=versions(),
            device=device_name(self.device),
            node=platform.node(),
            started_at=self.started_at,
            peak_memory_mib=self.memory.mib(),
            dataset=self.config.dataset.name,
            model=self.config.model.name,
            split=self.splits.kind,
            split_hash=self.splits.hash,
            n_classes=self.splits.members.n_classes,
            **sizes,
            **unmeasured | figures,
        )

        return TrialResult(
            trial=record,
            attacks=self.found.attacks,
            epochs=tuple(self.epochs),
            scores=self.found.scores,
            reconstructions=self.found.reconstructions,
            examples=self.found.examples,
            subsets=self.found.subsets,
        )

    def _train(self) -> tuple[TrainedTarget, float]:
        start, evaluation = time.perf_counter(), 0.0

        def on_epoch(epoch: Epoch) -> bool:
            nonlocal evaluation
            began = time.perf_counter()
            goes_on = self._measure_epoch(epoch, train_seconds=began - start - evaluation)
            evaluation += time.perf_counter() - began
            return goes_on

        seed = sub_seed(self.config.seed, "target")
        members = self.splits.members
        target = train(
            self.recipe,
            members,
            seed=seed,
            device=self.device,
            on_epoch=on_epoch,
            secure_noise=self.secure_noise,
        )
        return target, time.perf_counter() - start - evaluation

    def _measure_epoch(self, epoch: Epoch, *, train_seconds: float) -> bool:
        """Measure the model after an epoch, and return whether training goes on."""
        at_rung = epoch.number in self.rungs
        cheap = rung_figures(self.config, self.splits, epoch, self.device) if at_rung else {}
        validation, batch = self.splits.validation, self.recipe.evaluation_batch
        predicted = predict(epoch.model, validation, self.device, batch=batch)
        accuracy = float((predicted == validation.labels).mean())

        record = EpochRecord(
            trial_id=self.config.trial_id,
            epoch=epoch.number,
            loss=epoch.loss,
            train_accuracy=epoch.train_accuracy,
            accuracy=accuracy,
            epsilon=inf if epoch.privacy is None else epoch.privacy.epsilon,
            collapsed=verdict.is_collapsed(predicted, validation.labels),
            train_seconds=train_seconds,
            **cheap,
        )
        self.epochs.append(record)
        self.report(record)
        if not at_rung:
            return True

        stopped = self._result(
            "pruned",
            stopped_epoch=epoch.number,
            train_seconds=train_seconds,
            accuracy=accuracy,
            collapsed=record.collapsed,
            **verdict.privacy(epoch.privacy, self.splits.group_records),
        )
        goes_on = self.decide(Rung(figures=record, stopped=stopped))
        self.stopped = None if goes_on else stopped
        return goes_on
