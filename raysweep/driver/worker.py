"""What runs inside a Ray worker: one trial, from its configuration to its rows."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import sys
from collections.abc import Iterator
from typing import Any

from raysweep import data
from raysweep.data import Dataset, Splits, deal_key
from raysweep.records.columns import Rung
from raysweep.records.trial_config import TrialConfig

# Notes of the driver to a later attempt, beside the proposal's own keys.
RECORDED = "recorded"  # the trial's record is written: there is nothing left to do

MEMORY_PARTS = "memory_parts"  # physical batches are to be so many times smaller


def run(
    proposal: dict[str, Any],
    *,
    deals: dict[str, Any],
    threads: int,
    gpu: float,
    rungs: tuple[int, ...] = (),
    time_limit: float | None = None,
) -> None:
    """Run the proposed trial and report its rows, packed, to Tune.

    ``deals`` (key -> reference) lie in memory that all workers of a machine share. A reused worker
    starts clean: every trial seeds its own generators, and a GPU's caches are emptied here. After
    the epochs in ``rungs`` it reports the figures, with the rows of a trial that stops there. The
    process ends after ``time_limit`` seconds, and with it whatever hangs.
    """
    import ray
    from ray import tune

    if proposal.get(RECORDED):
        tune.report({})
        return
    import torch

    from raysweep.records.tables import pack
    from raysweep.training.devices import default_device
    from raysweep.trial.run import run_recorded

    torch.set_num_threads(threads)
    device = default_device() if gpu > 0 else torch.device("cpu")
    if device.type == "cuda" and 0 < gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu)
    if device.type == "cuda":  # here, since a trial that was stopped does not come to its end
        gc.collect()  # 0.15 s: worth it only for what the neighbours on a GPU need back
        torch.cuda.empty_cache()
    config = TrialConfig.from_json(proposal["config"])

    def on_rung(rung: Rung) -> bool:
        tune.report({"rung": rung.figures, "stopped": pack(rung.stopped)})
        return True  # where the pruner says stop, Tune ends this thread inside the report

    with _watched(time_limit):
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
        )
    tune.report({"result": pack(result)})


@contextlib.contextmanager
def _watched(time_limit: float | None) -> Iterator[None]:
    """End the process after ``time_limit`` seconds, even where a library holds Python still."""
    if time_limit is None:
        yield
        return
    faulthandler.dump_traceback_later(time_limit, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
