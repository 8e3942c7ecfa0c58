"""One configuration -> its rows. Read this first: it is the whole of what raysweep measures.

    splits -> recipe -> defended recipe -> target -> attacks -> records

No Ray here: ``raysweep trial`` and the workers of a sweep call the same :func:`run_trial`.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysweep import data, metrics, preflight
from raysweep.attacks import DatasetName, Knowledge, draw_known, judge_membership
from raysweep.blocks import counting
from raysweep.config import TrialConfig, sub_seed
from raysweep.data import Split, concatenate
from raysweep.errors import MachineFailure, OutOfMemory, RaysweepError
from raysweep.inversion import INVERSION
from raysweep.layers import default_device
from raysweep.membership import MEMBERSHIP, other_datasets
from raysweep.membership.data_transfer import DataTransfer
from raysweep.provenance import failed_record, now, versions
from raysweep.reconstructions import judge_inversion
from raysweep.record import (
    AttackRecord,
    EpochRecord,
    ReconstructionRows,
    Rung,
    ScoreRows,
    Status,
    TrialRecord,
    TrialResult,
)
from raysweep.registry import build
from raysweep.rungs import rung_figures
from raysweep.shadows import Shadow, train_shadows
from raysweep.train import Epoch, PrivacySpent, TrainedTarget, accuracy, train


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
            **self._strongest_membership(),
            **self._counting_inversion(),
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
            collapsed=self._collapsed(reached),
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
            "collapsed": self._collapsed(reached),
        }

    def _collapsed(self, reached: float) -> bool:
        """Return whether an accuracy is within three standard errors of the largest class."""
        labels = self.splits.validation.labels
        share = float(np.bincount(labels).max() / len(labels))
        return reached <= share + 3 * sqrt(share * (1 - share) / len(labels))

    def _strongest_membership(self) -> dict[str, Any]:
        """Return the AUC that counts; for the strongest of k its interval is at 1 - 0.05 / k.

        White-box attacks count only by name: a front compares what an outsider can do.
        """
        records = {r.attack: r for r in self.attacks if r.family == "membership"}
        named = {name: records[name].auc for name in counting(self.config.attacks)}
        aucs = {name: auc for name, auc in named.items() if auc is not None}
        if not aucs:
            return {}
        asked = self.config.attacks["attack_auc"]
        winner = max(aucs, key=lambda name: aucs[name]) if asked == "strongest" else asked
        if asked == "mean":
            return {"attack_auc": float(np.mean(list(aucs.values())))}
        scores = next(rows for rows in self.scores if rows.attack == winner)
        k = len(aucs) if asked == "strongest" else 1
        area = metrics.auc_interval(
            scores.score,
            scores.member,
            seed=sub_seed(self.config.seed, "strongest", winner),
            level=1 - 0.05 / k,
            resamples=1000 * k,
        )
        return {
            "attack_auc": area.value,
            "attack_auc_low": area.low,
            "attack_auc_high": area.high,
            "strongest_attack": winner,
        }

    def _counting_inversion(self) -> dict[str, Any]:
        """Return the reconstruction error at the layer that counts, beside its floor."""
        layer = self.config.attacks["inversion_mse"]
        if layer is None:  # classes alone are rebuilt: their error ranks a grey image first
            return {}
        found = [r for r in self.attacks if r.family == "inversion" and r.layer == layer]
        found = [r for r in found if r.mse is not None]
        if not found:
            return {}
        best = min(found, key=lambda r: r.mse if r.mse is not None else inf)
        return {
            "inversion_mse": best.mse,
            "inversion_floor": best.floor_mean,
            "inversion_converged": best.converged,
        }


def _accuracy(target: TrainedTarget, examples: Split) -> float:
    return float((target.logits(examples).argmax(axis=1) == examples.labels).mean())


class _PeakMemory:
    """The most memory that this process held since the object was made, GPU memory included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with contextlib.suppress(OSError):  # else the peak is that of the process's life
            Path("/proc/self/clear_refs").write_text("5")

    def mib(self) -> float:
        """Return the peak so far, in MiB."""
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        status = Path("/proc/self/status")
        if status.exists():
            line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
            peak = int(line.split()[1]) / 1024
        if self._device.type == "cuda":
            peak += torch.cuda.max_memory_allocated(self._device) / 2**20
        return peak


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
