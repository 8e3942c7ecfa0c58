"""What runs inside a Ray worker: one trial, from its configuration to its rows."""

from __future__ import annotations

import gc
from typing import Any

from raysweep.config import TrialConfig
from raysweep.data import Splits, share


def run(
    proposal: dict[str, Any],
    *,
    splits: Splits,
    dataset: dict[str, Any],
    seed: int,
    threads: int,
    gpu: float,
) -> None:
    """Run the proposed trial and report its :class:`~raysweep.record.TrialResult` to Tune.

    ``splits`` lie in memory that all workers of a machine share. A reused worker starts clean:
    every trial seeds its own generators, and caches are emptied here.
    """
    import torch
    from ray import tune

    from raysweep.trial import default_device, run_recorded

    torch.set_num_threads(threads)
    device = default_device()
    if device.type == "cuda" and 0 < gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu)
    share(dataset, splits, seed=seed)
    result = run_recorded(TrialConfig.from_json(proposal["config"]), device=device)
    if device.type == "cuda":
        gc.collect()  # 0.15 s: worth it only for what the neighbours on a GPU need back
        torch.cuda.empty_cache()
    tune.report({"result": result})
