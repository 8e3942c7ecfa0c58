"""A sweep of many trials: Optuna proposes them, Ray Tune runs them, and their records are written.

    space -> proposals -> Tune -> workers -> records -> proposals

The driver is the only process that writes. It writes a trial's record before the sampler learns
from it, and a sweep continues from its records alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from rich.console import Console

from raysweep.data.published import cache_folder
from raysweep.driver.cluster import Session, put_deals, ray_session
from raysweep.driver.counting import count_trials
from raysweep.driver.interrupts import catch_interrupts, silence_tune
from raysweep.driver.lock import Lock
from raysweep.driver.preflight import check_space, notes
from raysweep.driver.private_choice import check_folder, choose_privately, refuse_options
from raysweep.driver.progress import Progress
from raysweep.driver.proposals import Proposals
from raysweep.driver.ray_death import end_with_ray, ray_death
from raysweep.driver.recorder import Recorder, write_front
from raysweep.driver.scratch import scratch_folder
from raysweep.driver.standings import Standings
from raysweep.driver.worker_environment import refuse_foreign
from raysweep.errors import StoreError
from raysweep.records import compaction
from raysweep.records.data_hashes import keep_hashes
from raysweep.records.results import records
from raysweep.records.standing import Standing
from raysweep.records.store import Store
from raysweep.records.summary import Summary
from raysweep.records.tables import Packed
from raysweep.space.parsing import differences
from raysweep.space.space import Space
from raysweep.trial import preflight

if TYPE_CHECKING:
    from raysweep.data import Splits
    from raysweep.records.trial_config import TrialConfig


MAX_RETRIES = 3
"""The most times that a trial is tried again after its worker or node died or ran out of memory."""


def journal_path(out: str) -> Path:
    """Return where the Optuna journal of a results folder lies on this machine."""
    folder = out if "://" in out else str(Path(out).absolute())
    name = hashlib.sha256(folder.encode()).hexdigest()[:16]
    return cache_folder() / "studies" / f"{name}.journal"


def sweep(
    space: Space,
    *,
    out: str | None = None,
    trials: int | None = None,
    max_concurrent: int | None = None,
    address: str | None = None,
    time_budget: float | None = None,
    retry_failed: bool = False,
    patience: float = 300.0,
    console: Console | None = None,
) -> Summary:
    """Run ``space`` until the folder ``out`` holds ``trials`` records; continue those in it.

    ``out`` is ``space.name`` below the folder RAYSWEEP_RESULTS or ``results`` by default.
    ``time_budget`` is in seconds, and so is ``patience``, the longest wait for a folder that takes
    no records. Ctrl-C stops cleanly; the same call continues. Where the space has a random number
    of trials, a private choice is made in this process and its winner alone is written, see
    :mod:`raysweep.driver.private_choice`; ``out`` must then be new, and only ``console`` may be
    given besides.

    Raises:
        StoreError: ``out`` holds another sweep, or cannot be written.
        ClusterError: no node has the resources that a trial takes.
        RaysweepError: the data or the user's own modules break a rule.

    """
    began = time.monotonic()
    console = console or Console(stderr=True)
    store = Store(out or f"{os.environ.get('RAYSWEEP_RESULTS', 'results')}/{space.name}")
    store.refuse_links()
    is_private_choice = space.sampler.law is not None
    if is_private_choice:
        refuse_options(
            trials=trials,
            max_concurrent=max_concurrent,
            address=address,
            time_budget=time_budget,
            retry_failed=retry_failed,
        )
        check_folder(store)
    loaded = _preflight(space, here=address is None)
    for note in notes(space, loaded):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)

    say = functools.partial(console.print, markup=False, soft_wrap=True)
    with Lock(store, say=say) as lock:
        if is_private_choice:
            return choose_privately(space, store, loaded, say=say)
        _write_space(store, space)
        keep_hashes(store, loaded)
        total = count_trials(space, trials or space.sampler.n_recorded)
        run = _open_run(space, store, lock, total, retry_failed=retry_failed, patience=patience)
        if run.missing:
            run.start(loaded, address, max_concurrent, time_budget, console, began)

        standing = write_front(store)
        if run.recorder.error is not None:
            raise run.recorder.error
        return run.summary(store.path, standing)


def _preflight(space: Space, *, here: bool) -> dict[str, Splits]:
    """Load the data and try the model, so that mistakes show before Ray starts.

    With ``here``, trials run on this machine, which must support their precision.
    """

    def check_here(config: TrialConfig, _splits: Splits) -> None:
        if here:
            preflight.check_here(config)

    return check_space(space, (*preflight.CHECKS, check_here))


def _write_space(store: Store, space: Space) -> None:
    """Write the space with every default, or refuse to continue a different one.

    Raises:
        StoreError: the folder holds another sweep.

    """
    # A copy without shared values, which YAML would write as aliases.
    resolved = json.loads(json.dumps(space.to_plain()))
    if store.folder.exists("space.yaml"):
        changed = differences(store.space_document(), yaml.safe_load(yaml.safe_dump(resolved)))
        if changed:
            lines = "".join(f"\n  - {line}" for line in changed)
            raise StoreError(
                f"{store.path} holds another sweep:{lines}\n"
                "restore the space, or give another --out (nothing was changed)"
            )
    store.folder.write_bytes(yaml.safe_dump(resolved, sort_keys=False).encode(), "space.yaml")


def _open_run(
    space: Space, store: Store, lock: Lock, total: int, *, retry_failed: bool, patience: float
) -> _Run:
    """Return the run that continues the sweep in the results folder."""
    compaction.tidy(store)
    trials = store.read("trials")
    has_more_rows = trials["status"] != "failed"  # in other tables
    compaction.drop_orphans(store, set(trials.loc[has_more_rows, "trial_id"]))

    proposals = Proposals(space, trials, journal=journal_path(store.path))
    missing = max(0, total - len(proposals.records))
    if retry_failed:
        missing += _retry_failed(space, trials, proposals)

    n_small_files = len(trials) % compaction.TOGETHER
    recorder = Recorder(store, lock, proposals, patience=patience, n_small_files=n_small_files)
    return _Run(
        space=space,
        proposals=proposals,
        standings=_standings(space, store, trials),
        recorder=recorder,
        total=total,
        missing=missing,
    )


def _retry_failed(space: Space, trials: pd.DataFrame, proposals: Proposals) -> int:
    """Propose the configurations that failed again; return how many there are."""
    failed = records(trials[trials["status"] == "failed"])
    refuse_foreign(space, failed)
    proposals.retry(failed)
    return len(failed)


def _standings(space: Space, store: Store, trials: pd.DataFrame) -> Standings | None:
    """Return the figures of finished trials at the rungs; None without pruning."""
    if space.pruning is None:
        return None
    epochs = store.read("epochs")
    finished = epochs[epochs["trial_id"].isin(trials["trial_id"])]
    return Standings(space, space.pruning, finished)


@dataclass(frozen=True)
class _StopCondition:
    """The conditions to stop a sweep early: Ctrl-C, or a deadline in time.monotonic."""

    interrupted: Callable[[], bool]
    deadline: float | None

    def reason(self) -> str | None:
        """Return how the sweep ends when it stops now, None when it is to go on."""
        if self.interrupted():
            return "interrupted"
        if ray_death() is not None:
            return "without Ray"
        if self.deadline is not None and time.monotonic() > self.deadline:
            return "out of time"
        return None


@dataclass(kw_only=True)
class _Run:
    """The trials that one call of :func:`sweep` runs; ``ended`` says how it ended."""

    space: Space
    proposals: Proposals
    standings: Standings | None
    recorder: Recorder
    total: int
    missing: int
    ended: str = "done"

    def start(
        self,
        loaded: Mapping[str, Splits],
        address: str | None,
        max_concurrent: int | None,
        time_budget: float | None,
        console: Console,
        began: float,
    ) -> None:
        """Start or join Ray, and run the missing trials. The clock counts from ``began``."""
        deadline = None if time_budget is None else time.monotonic() + time_budget
        at_once = min(self.missing, max_concurrent or self.missing)

        with (
            end_with_ray(console),
            ray_session(address, self.space, console, at_once=at_once) as session,
            catch_interrupts() as interrupted,
            Progress(
                console,
                self.proposals.records,
                total=self.total,
                objectives=self.space.objectives,
                began=began,
            ) as progress,
        ):
            condition = _StopCondition(interrupted, deadline)
            self._run_trials(loaded, session, max_concurrent, condition, progress)
            self.ended = condition.reason() or "done"
            progress.update(0, force=True)
            if (death := ray_death()) is not None:
                raise death

    def _run_trials(
        self,
        loaded: Mapping[str, Splits],
        session: Session,
        max_concurrent: int | None,
        condition: _StopCondition,
        progress: Progress,
    ) -> None:
        """Let Ray Tune run the trials that are missing."""
        from ray import tune

        from raysweep.driver import tune_controller, tune_hooks

        def should_stop() -> bool:
            return condition.reason() is not None or self.recorder.error is not None

        def record(packed: Packed) -> None:
            self.recorder.record(packed, should_stop=should_stop, say=progress.say)

        time_limit = self.space.resources.seconds
        callback = tune_hooks.RecordCallback(record, progress, time_limit=time_limit)
        with scratch_folder() as scratch:
            tuner = tune.Tuner(
                self._trainable(loaded, session.gpu),
                tune_config=tune.TuneConfig(
                    search_alg=tune_hooks.ProposalSearcher(self.proposals),
                    scheduler=tune_hooks.Pruner(self.standings) if self.standings else None,
                    num_samples=self.missing,
                    max_concurrent_trials=max_concurrent,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=self.space.name,
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[callback],
                    stop=tune_hooks.SweepStopper(should_stop),
                    failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
                ),
            )
            with silence_tune(), tune_controller.install(session.is_ours):
                tuner.fit()

    def _trainable(self, loaded: Mapping[str, Splits], gpu: float) -> Any:
        """Return the function that workers run for each trial, with the resources of a trial."""
        from ray import tune

        from raysweep.driver import worker

        resources = self.space.resources
        trainable = tune.with_parameters(
            worker.run,
            deals=put_deals(self.space, loaded),
            threads=resources.threads,
            gpu=gpu,
            rungs=self.space.rungs(),
            time_limit=resources.seconds,
        )
        return tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": gpu})

    def summary(self, out: str, standing: Standing) -> Summary:
        """Return the outcome: the counts of the trials, and the front."""
        rows = self.proposals.records
        count = Counter(row["status"] for row in rows.values())
        return Summary(
            out=out,
            ended=self.ended,
            ok=count["ok"],
            pruned=count["pruned"],
            failed=count["failed"],
            missing=max(0, self.proposals.limit(self.total) - len(rows)),
            standing=standing,
        )


__all__ = ["Summary", "sweep"]
