"""Run one trial inside a Ray worker, from its configuration to its rows."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from raysweep import data
from raysweep.data import Dataset, Splits, deal_key
from raysweep.records.columns import Rung
from raysweep.records.trial_config import TrialConfig

if TYPE_CHECKING:
    import torch

# Keys that the driver adds to a proposal for a later attempt.
RECORDED = "recorded"  # True when the record is written and nothing is left to do

MEMORY_PARTS = "memory_parts"  # how many times smaller physical batches are


def run(
    proposal: dict[str, Any],
    *,
    deals: dict[str, Any],
    threads: int,
    gpu: float,
    rungs: tuple[int, ...] = (),
    time_limit: float | None = None,
) -> None:
    """Run the proposed trial and report its packed rows to Tune.

    ``deals`` (key -> reference) are deals of data in Ray's object store, which all workers of a
    machine share. A worker runs many trials, so each trial seeds its own generators, and the GPU's
    caches are emptied before it. After each epoch in ``rungs`` the figures are reported, with the
    rows of a trial that stops there. After ``time_limit`` seconds the process ends, even if a
    library hangs.
    """
    import ray
    from ray import tune

    if proposal.get(RECORDED):
        tune.report({tune.result.DONE: True})
        return

    from raysweep.records.tables import pack
    from raysweep.trial.run import run_recorded

    _return_to_working_folder()
    device = _set_up_device(gpu)
    config = TrialConfig.from_json(proposal["config"])

    def on_rung(rung: Rung) -> bool:
        tune.report({"rung": rung.figures, "stopped": pack(rung.stopped)})
        return True  # to stop a trial, Tune ends this thread inside the report

    with _limit_time(time_limit):
        datasets = (config.dataset, *config.attacks.other_datasets(config.dataset))
        keys = {deal_key(dataset, config.seed) for dataset in datasets} & deals.keys()
        shared: dict[str, Splits] = {key: ray.get(deals[key]) for key in keys}

        def load(dataset: Dataset, *, seed: int) -> Splits:
            splits = shared.get(deal_key(dataset, seed))
            return data.load(dataset, seed=seed) if splits is None else splits

        result = run_recorded(
            config,
            load=load,
            device=device,
            on_rung=on_rung,
            rungs=rungs,
            memory_parts=proposal.get(MEMORY_PARTS, 1),
            threads=threads,
        )
    # Tune would otherwise ask this worker once more, whether the trial is done.
    tune.report({"result": pack(result), tune.result.DONE: True})


def _return_to_working_folder() -> None:
    """Enter the working folder again if it was removed and made anew under this process.

    A node that joins does so to the others of its machine, because they share Ray's temporary
    folder, and so may a user. Where this does not help, errors that follow are the machine's.
    """
    with contextlib.suppress(OSError):
        os.getcwd()
        return
    with contextlib.suppress(OSError):  # there is no /proc outside Linux
        os.chdir(os.readlink("/proc/self/cwd").removesuffix(" (deleted)"))


def _set_up_device(gpu: float) -> torch.device:
    """Return the device of a trial, with its share of the memory set."""
    import torch

    from raysweep.training.devices import default_device

    device = default_device() if gpu > 0 else torch.device("cpu")
    if device.type == "cuda" and gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu)
    if device.type == "cuda":
        # At the start, because a trial that was stopped never reaches its end. The collection
        # takes 0.15 s, and gives memory back to the other trials on the GPU.
        gc.collect()
        torch.cuda.empty_cache()
    return device


@contextlib.contextmanager
def _limit_time(time_limit: float | None) -> Iterator[None]:
    """End the process after ``time_limit`` seconds, even if a library blocks the interpreter."""
    if time_limit is None:
        yield
        return
    faulthandler.dump_traceback_later(time_limit, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
