"""One configuration -> its rows. Read this first: it is the whole of what raysweep measures.

    splits -> recipe -> defended recipe -> target -> attacks -> records

No Ray here: ``raysweep trial`` and the workers of a sweep call the same :func:`run_trial`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import torch

from raysweep import data
from raysweep.attacks import INVERSION, MEMBERSHIP, other_datasets
from raysweep.attacks.contract import DatasetName, Knowledge, draw_known
from raysweep.attacks.membership.data_transfer import DataTransfer
from raysweep.attacks.shadows import Shadow, train_shadows
from raysweep.config import TrialConfig, sub_seed
from raysweep.config.registry import build
from raysweep.data import Split, concatenate
from raysweep.errors import MachineFailure, OutOfMemory, RaysweepError
from raysweep.records.columns import (
    AttackRecord,
    EpochRecord,
    ReconstructionRows,
    Rung,
    ScoreRows,
    Status,
    TrialRecord,
    TrialResult,
)
from raysweep.records.provenance import failed_record, now, versions
from raysweep.training.devices import default_device
from raysweep.training.loop import Epoch, train
from raysweep.training.recipe import PrivacySpent
from raysweep.training.target import TrainedTarget, accuracy
from raysweep.trial import preflight, verdict
from raysweep.trial.inversion_judge import judge_inversion
from raysweep.trial.machine import _device_name, _PeakMemory
from raysweep.trial.membership_judge import judge_membership
from raysweep.trial.rungs import rung_figures


def run_trial(
    config: TrialConfig,
    *,
    device: torch.device | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    on_rung: Callable[[Rung], bool] | None = None,
    rungs: Collection[int] = (),
    memory_parts: int = 1,
) -> TrialResult:
    """Return the rows of one configuration: train the target, attack it, measure.

    ``on_epoch`` is shown every epoch of the target as it ends. After the epochs in ``rungs`` the
    model is attacked cheaply, and ``on_rung`` says whether to go on: where it says False the
    status is ``pruned``, the figures are those of the stop, and no full attack is run.
    ``memory_parts`` makes physical batches so many times smaller.

    Raises:
        RaysweepError: the configuration cannot be run as asked; nothing is recorded.

    """
    return _Trial(config, device or default_device(), on_epoch, on_rung, rungs, memory_parts).run()


def run_recorded(
    config: TrialConfig,
    *,
    device: torch.device | None = None,
    on_rung: Callable[[Rung], bool] | None = None,
    rungs: Collection[int] = (),
    memory_parts: int = 1,
) -> TrialResult:
    """Return the rows of one configuration, with status ``failed`` and the reason if it fails.

    Raises:
        MachineFailure: the machine, not the configuration, may be at fault: worth another try.

    """
    try:
        return run_trial(
            config, device=device, on_rung=on_rung, rungs=rungs, memory_parts=memory_parts
        )
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(f"out of memory: {error}") from error
    except Exception as error:
        if "can't allocate memory" in str(error) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error):
            raise OutOfMemory(f"out of memory: {error}") from error
        if "CUDA error" in str(error):  # it sticks to the process: every later trial would fail
            raise MachineFailure(str(error)) from error
        return TrialResult(trial=failed_record(config, reason(error)))


def reason(error: BaseException) -> str:
    """Return an error as one line for a record."""
    kind = "" if isinstance(error, RaysweepError) else f"{type(error).__name__}: "
    return f"{kind}{error}".strip() or type(error).__name__


class _Trial:
    """The state of one trial while it runs, and its steps in order."""

    def __init__(
        self,
        config: TrialConfig,
        device: torch.device,
        on_epoch: Callable[[EpochRecord], None] | None,
        on_rung: Callable[[Rung], bool] | None,
        rungs: Collection[int],
        memory_parts: int,
    ) -> None:
        self.config, self.device, self.memory_parts = config, device, memory_parts
        self.show = on_epoch or (lambda _record: None)
        self.goes_on = on_rung or (lambda _rung: True)
        self.rungs = {epoch for epoch in rungs if epoch < config.training.epochs}
        self.stopped: TrialResult | None = None
        self.epochs: list[EpochRecord] = []
        self.attacks: list[AttackRecord] = []
        self.scores: list[ScoreRows] = []
        self.reconstructions: list[ReconstructionRows] = []

    def run(self) -> TrialResult:
        """Run all steps."""
        self.started_at, self.memory = now(), _PeakMemory(self.device)
        for other in other_datasets(self.config.attacks, self.config.dataset):
            data.load(other, seed=self.config.seed)  # now: what is missing shows before training
        self.splits = data.load(self.config.dataset, seed=self.config.seed)
        preflight.check(self.config, self.splits)
        recipe = preflight.recipe_of(self.config, self.splits)
        self.recipe = replace(recipe, memory_parts=self.memory_parts)
        target, train_seconds = self._train()
        if self.stopped is not None:
            return self.stopped
        attacks_start = time.perf_counter()
        self._attack(target)
        return self._result(
            "ok",
            train_seconds=train_seconds,
            attack_seconds=time.perf_counter() - attacks_start,
            **self._privacy(target.privacy),
            **self._accuracy(target),
            **verdict.strongest_membership(self.config, self.attacks, self.scores),
            **verdict.counting_inversion(self.config, self.attacks),
        )

    def _result(self, status: Status, **figures: Any) -> TrialResult:
        """Return all rows so far, under a record with these ``figures``."""
        record = TrialRecord(
            trial_id=self.config.trial_id,
            status=status,
            defences=self.config.defences,
            seed=self.config.seed,
            config=self.config.to_json(),
            versions=versions(),
            device=_device_name(self.device),
            node=platform.node(),
            started_at=self.started_at,
            peak_memory_mib=self.memory.mib(),
            dataset=str(self.config.dataset["name"]),
            model=str(self.config.model["name"]),
            split=self.splits.kind,
            split_hash=self.splits.hash,
            n_classes=self.splits.members.n_classes,
            **self._sizes(),
            **figures,
        )
        return TrialResult(
            trial=record,
            attacks=tuple(self.attacks),
            epochs=tuple(self.epochs),
            scores=tuple(self.scores),
            reconstructions=tuple(self.reconstructions),
        )

    def _train(self) -> tuple[TrainedTarget, float]:
        start, evaluation = time.perf_counter(), 0.0

        def on_epoch(epoch: Epoch) -> bool:
            nonlocal evaluation
            began = time.perf_counter()
            goes_on = self._look(epoch, train_seconds=began - start - evaluation)
            evaluation += time.perf_counter() - began
            return goes_on

        seed = sub_seed(self.config.seed, "target")
        members = self.splits.members
        target = train(self.recipe, members, seed=seed, device=self.device, on_epoch=on_epoch)
        return target, time.perf_counter() - start - evaluation

    def _look(self, epoch: Epoch, *, train_seconds: float) -> bool:
        """Measure the model after an epoch; return whether to go on."""
        at_rung = epoch.number in self.rungs
        cheap = rung_figures(self.config, self.splits, epoch, self.device) if at_rung else {}
        batch = self.recipe.evaluation_batch
        reached = accuracy(epoch.model, self.splits.validation, self.device, batch=batch)
        record = EpochRecord(
            trial_id=self.config.trial_id,
            epoch=epoch.number,
            loss=epoch.loss,
            train_accuracy=epoch.train_accuracy,
            accuracy=reached,
            epsilon=inf if epoch.privacy is None else epoch.privacy.epsilon,
            collapsed=verdict.is_collapsed(reached, self.splits.validation.labels),
            train_seconds=train_seconds,
            **cheap,
        )
        self.epochs.append(record)
        self.show(record)
        if not at_rung:
            return True
        stopped = self._result(
            "pruned",
            stopped_epoch=epoch.number,
            train_seconds=train_seconds,
            accuracy=reached,
            collapsed=record.collapsed,
            **self._privacy(epoch.privacy),
        )
        goes_on = self.goes_on(Rung(figures=record, stopped=stopped))
        self.stopped = None if goes_on else stopped
        return goes_on

    def _attack(self, target: TrainedTarget) -> None:
        seed, splits, trial_id = self.config.seed, self.splits, self.config.trial_id
        share, known = self.config.attacks.get("known_share"), None
        if share is not None:
            known = draw_known(splits.members, splits.nonmembers, share, seed=seed)
        knowledge = Knowledge(
            pool=splits.pool,
            train_shadows=self._shadows,
            reference=splits.reference,
            known=known,
        )
        for name, parameters in self.config.attacks["membership"].items():
            record, scores = judge_membership(
                name,
                build(MEMBERSHIP[name], parameters),
                target,
                members=splits.members,
                nonmembers=splits.nonmembers,
                knowledge=knowledge,
                trial_id=trial_id,
                seed=seed,
            )
            self.attacks.append(record)
            self.scores.append(scores)
        for name, layer, attack in self._inversions():
            rebuilt, images = judge_inversion(
                name,
                attack,
                layer,
                target,
                members=splits.members,
                nonmembers=splits.nonmembers,
                knowledge=knowledge,
                trial_id=trial_id,
                seed=seed,
            )
            self.attacks.append(rebuilt)
            self.reconstructions.append(images)

    def _inversions(self) -> Iterator[tuple[str, str | None, Any]]:
        for name, parameters in self.config.attacks["inversion"].items():
            attack = build(INVERSION[name], parameters)
            for layer in attack.layers:
                yield name, layer, attack

    def _shadows(self, numbers: Sequence[int], dataset: DatasetName | None) -> list[Shadow]:
        """Return shadows on the pool, or on another data set dealt in the same sizes."""
        recipe, known, seed = self.recipe, self.splits.pool, self.config.seed
        if dataset is not None:
            other = DataTransfer(dataset=dataset).other(self.config.dataset)
            splits = data.load(other, seed=seed)
            recipe = preflight.recipe_of(self.config, splits)
            known = concatenate(splits.members, splits.nonmembers)
            seed = sub_seed(seed, "transfer")
        n = len(self.splits.members if dataset is None else splits.members)
        return train_shadows(recipe, known, n, numbers, seed=seed, device=self.device)

    def _sizes(self) -> dict[str, Any]:
        return {f"n_{name}": size for name, size in self.splits.sizes.items()}

    def _privacy(self, spent: PrivacySpent | None) -> dict[str, Any]:
        asked = {"target_epsilon": float(self.config.defences["epsilon"])}
        if spent is None:
            return asked | {"epsilon": inf, "noise_multiplier": 0.0}
        return asked | {
            "epsilon": spent.epsilon,
            "noise_multiplier": spent.noise_multiplier,
            "sample_rate": spent.sample_rate,
            "steps": spent.steps,
            "accountant": spent.accountant,
            "accountant_settings": spent.accountant_settings,
            "clipping": spent.clipping,
        }

    def _accuracy(self, target: TrainedTarget) -> dict[str, Any]:
        reached = _accuracy(target, self.splits.validation)
        return {
            "train_accuracy": _accuracy(target, self.splits.members),
            "accuracy": reached,
            "collapsed": verdict.is_collapsed(reached, self.splits.validation.labels),
        }


def _accuracy(target: TrainedTarget, examples: Split) -> float:
    return float((target.logits(examples).argmax(axis=1) == examples.labels).mean())
