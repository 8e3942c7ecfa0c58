"""What runs inside a Ray worker: one trial, from its configuration to its rows."""

from __future__ import annotations

import gc
from typing import Any

from raysweep.config import TrialConfig
from raysweep.data import deal_key, share
from raysweep.membership import other_datasets
from raysweep.record import Rung


def run(
    proposal: dict[str, Any],
    *,
    deals: dict[str, Any],
    threads: int,
    gpu: float,
    rungs: tuple[int, ...] = (),
) -> None:
    """Run the proposed trial and report its :class:`~raysweep.record.TrialResult` to Tune.

    ``deals`` (key -> reference) lie in memory that all workers of a machine share. A reused worker
    starts clean: every trial seeds its own generators, and a GPU's caches are emptied here. After
    the epochs in ``rungs`` it reports the figures, with the rows of a trial that stops there.
    """
    import ray
    import torch
    from ray import tune

    from raysweep.trial import default_device, run_recorded

    torch.set_num_threads(threads)
    device = default_device() if gpu > 0 else torch.device("cpu")
    if device.type == "cuda" and 0 < gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu)
    if device.type == "cuda":  # here, since a trial that was stopped does not come to its end
        gc.collect()  # 0.15 s: worth it only for what the neighbours on a GPU need back
        torch.cuda.empty_cache()
    config = TrialConfig.from_json(proposal["config"])
    for dataset in (*other_datasets(config.attacks, config.dataset), config.dataset):
        deal = deals.get(deal_key(dataset, config.seed))
        if deal is not None:
            share(dataset, ray.get(deal), seed=config.seed)

    def on_rung(rung: Rung) -> bool:
        tune.report({"rung": rung.figures, "stopped": rung.stopped})
        return True  # where the pruner says stop, Tune ends this thread inside the report

    result = run_recorded(config, device=device, on_rung=on_rung, rungs=rungs)
    tune.report({"result": result})
