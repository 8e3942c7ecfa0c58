"""Many trials: Ray Tune schedules, Optuna proposes, the records decide. The only door to Ray.

    space -> proposals -> Tune -> workers -> records -> proposals

The driver is the only writer: it writes a trial's record first and tells the study after, and it
continues from the records alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import yaml
from rich.console import Console

from raysweep import data
from raysweep.data.published import cache_folder
from raysweep.driver import user_code as code
from raysweep.driver.cluster import _deals, _ray
from raysweep.driver.interrupts import _interrupt, _silence
from raysweep.driver.lock import Lock
from raysweep.driver.patience import patiently
from raysweep.driver.progress import Progress
from raysweep.driver.proposals import Proposals, expected
from raysweep.driver.standings import Standings
from raysweep.errors import RaysweepError, StoreError
from raysweep.records import compaction
from raysweep.records.results import Results, kept, records
from raysweep.records.store import Store
from raysweep.records.tables import Packed
from raysweep.space.parsing import differences
from raysweep.space.space import Space
from raysweep.trial import preflight

if TYPE_CHECKING:
    from raysweep.data import Splits
    from raysweep.records.trial_config import TrialConfig


MAX_RETRIES = 3
"""How often a trial is tried again when its worker, its node or its memory failed it."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a sweep ended, and its front: ``ended`` is done, interrupted or out of time."""

    out: str
    ended: str
    ok: int
    pruned: int
    failed: int
    missing: int
    front: pd.DataFrame = field(repr=False, compare=False)


def journal_path(out: str) -> Path:
    """Return where the Optuna journal of a results folder lies on this machine."""
    name = hashlib.sha256(str(Path(out).absolute() if "://" not in out else out).encode())
    return cache_folder() / "studies" / f"{name.hexdigest()[:16]}.journal"


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
    """Run ``space`` until ``trials`` records lie in ``out``; continue what lies there already.

    ``out`` is a folder below RAYSWEEP_RESULTS or ``results`` by default. ``time_budget`` and
    ``patience`` (with a folder that takes no records) are in seconds. Ctrl-C stops cleanly; the
    same call continues.

    Raises:
        StoreError: ``out`` holds another sweep, or cannot be written.
        ClusterError: no node has the resources that a trial takes.
        RaysweepError: the data or the user's own modules do not hold.

    """
    console = console or Console(stderr=True)
    store = Store(out or f"{os.environ.get('RAYSWEEP_RESULTS', 'results')}/{space.name}")
    splits = _preflight(space, here=address is None)
    with Lock(store, say=console.print) as lock:
        _open(store, space)
        compaction.tidy(store)
        found = store.read("trials")
        whole = found.loc[found["status"] != "failed", "trial_id"]  # failed trials have but a row
        compaction.drop_orphans(store, set(whole))
        total = expected(space, trials or space.sampler.trials)
        run = _Run(space, store, lock, found, total, retry_failed=retry_failed, patience=patience)
        if run.missing:
            run.start(splits, address, max_concurrent, time_budget, console)
        front = _write_front(store)
        if run.recorder_error is not None:
            raise run.recorder_error
        return run.summary(front)


def _preflight(space: Space, *, here: bool) -> Splits:
    """Load the data and try the model, so that mistakes show before Ray starts.

    ``here``: trials run on this machine.
    """
    baseline = space.baseline()
    splits = data.load(baseline.dataset, seed=baseline.seed)

    def check(config: TrialConfig) -> None:
        preflight.check(config, splits)
        if here:
            preflight.check_here(config)

    check(baseline)
    for place, values in space.extremes():
        if any(key.startswith("dataset.") for key in values):
            continue  # other data; each trial checks it
        try:
            check(space.config({key: values[key] for key in values.keys() - {"seed"}}))
        except RaysweepError as error:
            raise type(error)(f"`{'.'.join(place)}`: {error}") from None
    return splits


def _open(store: Store, space: Space) -> None:
    """Write the space as run, or refuse to continue a different one."""
    resolved = json.loads(json.dumps(space.resolved()))  # no value is shared: no aliases in YAML
    if store.folder.exists("space.yaml"):
        changed = differences(store.space_document(), yaml.safe_load(yaml.safe_dump(resolved)))
        if changed:
            told = "".join(f"\n  - {line}" for line in changed)
            remedy = "restore the space, or give another --out (nothing was changed)"
            raise StoreError(f"{store.path} holds another sweep:{told}\n{remedy}")
    store.folder.write_bytes(yaml.safe_dump(resolved, sort_keys=False).encode(), "space.yaml")


def _write_front(store: Store) -> pd.DataFrame:
    """Write the front beside the records, and return it."""
    front = Results(store.path).front()
    buffer = io.BytesIO()
    front.to_parquet(buffer)
    store.folder.write_bytes(buffer.getvalue(), "front.parquet")
    return front


class _Run:
    """One opening of a sweep, from the records that are there to those that were asked for."""

    def __init__(
        self,
        space: Space,
        store: Store,
        lock: Lock,
        trials: pd.DataFrame,
        total: int,
        *,
        retry_failed: bool,
        patience: float,
    ) -> None:
        self.patience = patience
        self.small_files = len(trials) % compaction.TOGETHER
        self.space, self.store, self.lock, self.total = space, store, lock, total
        self.rows = {r["trial_id"]: kept(r, space.objectives) for r in records(trials)}
        self.proposals = Proposals(space, trials, journal=journal_path(store.path))
        self.standings = self._standings()
        self.ended = "done"
        self.recorder_error: StoreError | None = None
        self.missing = max(0, total - len(self.rows))
        if retry_failed:
            again = records(trials[trials["status"] == "failed"])
            code.refuse_foreign(space, again)
            self.proposals.retry(again)
            self.missing += len(again)

    def _standings(self) -> Standings | None:
        """Return what finished trials showed at the rungs; None without pruning."""
        if self.space.pruning is None:
            return None
        epochs = self.store.read("epochs")
        return Standings(
            self.space, self.space.pruning, epochs[epochs["trial_id"].isin(list(self.rows))]
        )

    def start(
        self,
        splits: Splits,
        address: str | None,
        max_concurrent: int | None,
        time_budget: float | None,
        console: Console,
    ) -> None:
        """Start or join Ray and run what is missing."""
        deadline = None if time_budget is None else time.monotonic() + time_budget
        with _ray(address, self.space, console) as gpu, _interrupt() as interrupted:

            def should_stop() -> bool:
                if interrupted():
                    self.ended = "interrupted"
                elif deadline is not None and time.monotonic() > deadline:
                    self.ended = "out of time"
                return self.ended != "done" or self.recorder_error is not None

            objectives = self.space.objectives
            with Progress(console, self.rows, total=self.total, objectives=objectives) as progress:
                self._fit(splits, gpu, max_concurrent, should_stop, progress)
                progress.update(0, force=True)

    def _fit(
        self,
        splits: Splits,
        gpu: float,
        max_concurrent: int | None,
        should_stop: Callable[[], bool],
        progress: Progress,
    ) -> None:
        from ray import tune

        from raysweep.driver import tune_controller as controller
        from raysweep.driver import tune_hooks as tuning
        from raysweep.driver import worker

        resources = {"cpu": self.space.resources.cpu, "gpu": gpu}
        time_limit = self.space.resources.seconds
        trainable = tune.with_parameters(
            worker.run,
            deals=_deals(self.space, splits),
            threads=max(1, int(self.space.resources.cpu)),
            gpu=gpu,
            rungs=self.space.rungs(),
            time_limit=time_limit,
        )

        def record(packed: Packed) -> None:
            self.record(packed, should_stop, progress.say)

        scratch = tempfile.mkdtemp(prefix="raysweep-")
        try:
            tuner = tune.Tuner(
                tune.with_resources(trainable, resources),
                tune_config=tune.TuneConfig(
                    search_alg=tuning.Asking(self.proposals),
                    scheduler=tuning.Pruner(self.standings) if self.standings else None,
                    num_samples=self.missing,
                    max_concurrent_trials=max_concurrent,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=self.space.name,
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[tuning.Recording(record, progress, time_limit=time_limit)],
                    stop=tuning.Stopping(should_stop),
                    failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
                ),
            )
            with _silence(), controller.installed():
                tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def record(
        self, packed: Packed, should_stop: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        """Write a finished trial, then let the study learn from it."""
        if self.recorder_error is not None:
            return

        def write() -> None:
            self.lock.check()
            self.store.folder.require()
            self.store.write(packed, before_row=self.lock.check)

        try:
            patiently(write, patience=self.patience, should_stop=should_stop, say=say)
        except StoreError as error:
            self.recorder_error = error
            return
        row = packed.trial.row()
        self.rows[row["trial_id"]] = kept(row, self.space.objectives)
        self.small_files += 1
        if self.small_files >= compaction.TOGETHER:
            self.small_files = 0
            with contextlib.suppress(StoreError):  # the records are there, only more files
                compaction.compact(self.store)
        self.proposals.tell(row)

    def summary(self, front: pd.DataFrame) -> Summary:
        """Return how it ended."""
        count = Counter(row["status"] for row in self.rows.values())
        return Summary(
            out=self.store.path,
            ended=self.ended,
            ok=count["ok"],
            pruned=count["pruned"],
            failed=count["failed"],
            missing=max(0, self.total - len(self.rows)),
            front=front,
        )


__all__ = ["Summary", "sweep"]
