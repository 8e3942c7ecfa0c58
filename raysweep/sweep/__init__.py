"""Many trials: Ray Tune schedules, Optuna proposes, the records decide. The only door to Ray.

    space -> proposals -> Tune -> workers -> records -> proposals

The driver is the only writer: it writes a trial's record first and tells the study after, and it
continues from the records alone.
"""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from rich.console import Console

from raysweep import compaction, data, preflight
from raysweep.axes import grid
from raysweep.data.published import cache_folder
from raysweep.errors import ClusterError, RaysweepError, StoreError
from raysweep.membership import other_datasets
from raysweep.results import Results, kept, records
from raysweep.space import Space, differences
from raysweep.store import Packed, Store
from raysweep.sweep import code
from raysweep.sweep.lock import Lock
from raysweep.sweep.patience import patiently
from raysweep.sweep.proposals import DESIGNS, Proposals, expected
from raysweep.sweep.pruning import Standings
from raysweep.sweep.table import Progress

if TYPE_CHECKING:
    from raysweep.config import TrialConfig
    from raysweep.data import Splits

MAX_RETRIES = 3
"""How often a trial is tried again when its worker, its node or its memory failed it."""


ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
}
"""What a worker's memory takes: glibc keeps what a step frees (the page faults cost a third of a
private step) in one arena (every trial has its own thread, and an arena of its own would keep
100 MiB a trial), and oneDNN keeps few plans (Poisson batches have hundreds of sizes)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a sweep ended: ``ended`` is done, interrupted or out of time."""

    out: str
    ended: str
    ok: int
    pruned: int
    failed: int
    missing: int


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
        _close(store)
        if run.recorder_error is not None:
            raise run.recorder_error
        return run.summary()


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
    if store.exists("space.yaml"):
        changed = differences(store.space_document(), yaml.safe_load(yaml.safe_dump(resolved)))
        if changed:
            told = "".join(f"\n  - {line}" for line in changed)
            remedy = "restore the space, or give another --out (nothing was changed)"
            raise StoreError(f"{store.path} holds another sweep:{told}\n{remedy}")
    store.write_bytes(yaml.safe_dump(resolved, sort_keys=False).encode(), "space.yaml")


def _close(store: Store) -> None:
    """Write the front beside the records."""
    buffer = io.BytesIO()
    Results(store.path).front().to_parquet(buffer)
    store.write_bytes(buffer.getvalue(), "front.parquet")


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

        from raysweep.sweep import controller, tuning, worker

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
            self.store.require()
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

    def summary(self) -> Summary:
        """Return how it ended."""
        count = Counter(row["status"] for row in self.rows.values())
        return Summary(
            out=self.store.path,
            ended=self.ended,
            ok=count["ok"],
            pruned=count["pruned"],
            failed=count["failed"],
            missing=max(0, self.total - len(self.rows)),
        )


MOST_DEALS = 32
"""How many deals of data a sweep shares; an axis over more lets every worker deal for itself."""


def _deals(space: Space, splits: Splits) -> dict[str, Any]:
    """Put one copy of every deal that the axes can ask for where all workers see it."""
    import ray

    baseline = space.baseline()
    deals = {data.deal_key(baseline.dataset, baseline.seed): ray.put(splits)}
    _add_deals(deals, baseline)
    axes = {k: a for k, a in space.axes.items() if k == "seed" or k.startswith("dataset.")}
    choices = [axis.choices() for axis in axes.values()]
    if None in choices or prod(len(c or ()) for c in choices) > MOST_DEALS:
        return deals
    for values in grid(axes):
        _add_deals(deals, space.config(values))
    return deals


def _add_deals(deals: dict[str, Any], config: TrialConfig) -> None:
    """Add the deals of every data set that a trial of ``config`` reads."""
    import ray

    for dataset in (config.dataset, *other_datasets(config.attacks, config.dataset)):
        key = data.deal_key(dataset, config.seed)
        if key not in deals:
            deals[key] = ray.put(data.load(dataset, seed=config.seed))


@contextlib.contextmanager
def _ray(address: str | None, space: Space, console: Console) -> Iterator[float]:
    """Join the cluster at ``address``, or start Ray on this machine; yield the GPU share to ask."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")  # a sweep continues from its records
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths mean the user's folder
    if address is not None:  # what waits is what an autoscaler sees
        learns = space.sampler.name not in DESIGNS
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "4" if learns else "64")
    import ray

    started = not ray.is_initialized()
    if started or address is not None:
        _start(address, space, console)
    try:
        ours = started and address is None
        yield _gpu_share(space, console) if ours else space.resources.gpu
    finally:
        if started:
            ray.shutdown()


def _start(address: str | None, space: Space, console: Console) -> None:
    """Join the cluster at ``address``, or start a Ray of our own.

    Raises:
        ClusterError: it does not answer, or does not start. Ray has no common error for either.

    """
    import ray

    options: dict[str, Any] = {"address": address, "log_to_driver": False}
    options |= {"logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1"}
    doing = "starting Ray on this machine" if address is None else f"joining Ray at {address}"
    with (
        code.environment(space, elsewhere=address is not None) as environment,
        console.status(doing),
        _loopback() if address is None else contextlib.nullcontext(),
    ):
        environment["env_vars"] |= ALLOCATION
        try:
            if address is not None:
                _knock(address)
            ray.init(runtime_env=environment, **options)
        except Exception as error:
            told = str(error).strip().partition("\n")[0] or type(error).__name__
            if address is not None:
                what = f"there is no Ray cluster at {address!r}"
                remedy = "start one with `ray up` or `ray start --head`, or leave --address out"
            else:
                what = "Ray does not start on this machine"
                remedy = "give it memory and time (end what else runs), then the same command again"
            raise ClusterError(f"{what} ({told}); {remedy}") from error


def _knock(address: str) -> None:
    """Raise :class:`OSError` where nothing listens: Ray would try for minutes, and then exit."""
    from ray._private.services import canonicalize_bootstrap_address

    where = None if "://" in address else canonicalize_bootstrap_address(address)
    if where is not None:
        host, _, port = where.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 at its word: it would listen on every address of this machine."""
    from ray._private import services

    resolve = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = resolve


def _gpu_share(space: Space, console: Console) -> float:
    """Return the share of a GPU to ask for on our own Ray; 0, said once, where there is none."""
    import ray

    asked, has = space.resources, ray.cluster_resources()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= asked.cpu for node in nodes):
        most = max(node.get("CPU", 0) for node in nodes)
        remedy = "lower resources.cpu, or give --address of a cluster that has them"
        raise ClusterError(
            f"a trial takes {asked.cpu:g} CPUs and this machine has {most:g}; {remedy}"
        )
    if asked.gpu == 0:
        return 0.0
    if has.get("GPU", 0) == 0:
        console.print("no GPU on this machine: trials run on the CPU, and the records say so")
        return 0.0
    if not any(node.get("GPU", 0) >= asked.gpu for node in nodes):
        remedy = "lower resources.gpu"
        raise ClusterError(f"a trial takes {asked.gpu:g} GPUs and no node has them; {remedy}")
    return asked.gpu


@contextlib.contextmanager
def _interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into an answer to "was it?"; the second one is sharp."""
    pressed = False

    def handler(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def swallowed(found: Any) -> None:
        """Press again, a moment later, where a finaliser was running: nothing leaves one."""
        if isinstance(found.exc_value, KeyboardInterrupt):
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            told(found)

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, handler) for number in signals]
    except ValueError:  # not in the main thread: then Ctrl-C is somebody else's
        yield lambda: False
        return
    told, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield lambda: pressed
    finally:
        sys.unraisablehook = told
        for number, old in zip(signals, before, strict=True):
            signal.signal(number, old)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep Tune's own words out of the terminal: the records hold every error."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _CallableModule(types.ModuleType):
    """``raysweep.sweep`` is this package as soon as it is imported, and the function as well."""

    def __call__(self, *args: Any, **kwargs: Any) -> Summary:
        return sweep(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule

__all__ = ["Summary", "sweep"]
