"""Sweeps of fractional trials on one GPU, and its memory's shares, for the GPU's benchmark."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import raysweep
from benchmarks.common import spread
from benchmarks.gpu_packed import packed_rate
from benchmarks.gpu_space import QUICK, SPACE
from benchmarks.trial import trials_per_minute
from raysweep.driver.worker import _set_up_device
from raysweep.records.results import records

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")


class Nvml:
    """The load (%) and the used memory (MiB) of the first GPU, read four times a second."""

    def __init__(self) -> None:
        self.load: list[float] = []
        self.memory: list[float] = []

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Read until the end of the block."""
        from ray._private.thirdparty import pynvml

        pynvml.nvmlInit()
        gpu, is_over = pynvml.nvmlDeviceGetHandleByIndex(0), threading.Event()

        def read() -> None:
            while not is_over.wait(0.25):
                self.load.append(float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu))
                self.memory.append(pynvml.nvmlDeviceGetMemoryInfo(gpu).used / 2**20)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            pynvml.nvmlShutdown()

    def figures(self) -> dict[str, Any]:
        """Return the spread of the load, and the largest memory."""
        return {"load": spread(self.load), "peak_memory_mib": max(self.memory)}


def run_sweep(
    folder: str, device: torch.device, *, gpu: float, trials: int, at_once: int, quick: bool
) -> list[dict[str, Any]]:
    """Run a sweep each of whose trials has the share ``gpu`` of the device; return its records."""
    share = gpu if device.type == "cuda" else 0
    command = [RAYSWEEP, "sweep", SPACE, "--out", folder, "--trials", str(trials)]
    command += ["--max-concurrent", str(at_once), "--set", f"resources.gpu={share}"]
    if quick:
        for key, value in QUICK.items():
            command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: a trial failed, which its record tells
        raise RuntimeError(done.stderr)
    return records(raysweep.load(folder).trials)


def sweep_rate(at_once: int, device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the trials a minute of a sweep that runs so many at once, and their trainings."""
    trials, nvml = 3 if quick else max(6, 3 * at_once), Nvml()
    with (
        tempfile.TemporaryDirectory() as folder,
        nvml.watch() if device.type == "cuda" else contextlib.nullcontext(),
    ):
        rows = run_sweep(
            folder, device, gpu=1 / at_once, trials=trials, at_once=at_once, quick=quick
        )
        ends = sorted(file.stat().st_mtime for file in Path(folder, "trials").glob("*.parquet"))
    seconds = [row["train_seconds"] for row in rows if row["status"] == "ok"]
    found: dict[str, Any] = {"trials": trials, "failed": trials - len(seconds)}
    found |= {"trials_per_minute": trials_per_minute(ends)}
    found |= {"trainings_per_minute": 60 * at_once / statistics.median(seconds)}
    return found | (nvml.figures() if device.type == "cuda" else {})


LITTLE = 64
"""MiB of a GPU that are expected to be too few for a trial of the benchmark."""


def show_lack_of_memory(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return what becomes of a trial whose share of the GPU is LITTLE; a CPU's is not limited."""
    gpu = 0.0
    if device.type == "cuda":
        gpu = LITTLE * 2**20 / torch.cuda.get_device_properties(device).total_memory
    with tempfile.TemporaryDirectory() as folder:
        (row,) = run_sweep(folder, device, gpu=round(gpu, 4), trials=1, at_once=1, quick=quick)
    return {key: row[key] for key in ("status", "error", "attempts", "retries")}


def check_memory_share(device: torch.device) -> dict[str, Any]:
    """Return whether a trial with a tenth of the GPU gets a twentieth and not a fifth of it."""
    if device.type != "cuda":
        return {"reason": "a CPU's memory is not shared out"}
    total = torch.cuda.get_device_properties(device).total_memory
    _set_up_device(0.1)
    found = {}
    for name, share in {"below": 0.05, "above": 0.2}.items():
        try:
            torch.empty(int(total * share), dtype=torch.uint8, device=device)
            found[name] = "given"
        except torch.cuda.OutOfMemoryError:
            found[name] = "refused"
    _set_up_device(1)
    torch.cuda.set_per_process_memory_fraction(1.0)
    return {**found, "holds": found == {"below": "given", "above": "refused"}}


def compare_sweeps(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the rates of sweeps by their trials at once, and of models packed in one process."""
    at_once: Sequence[int] = (2,) if quick else (1, 2, 4, 8)
    return {
        "at_once": {str(n): sweep_rate(n, device, quick=quick) for n in at_once},
        "packed_in_one_process": packed_rate(device, quick=quick),
    }


def limit_memory(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return whether a share of the memory holds, and what one that is too small does."""
    return {
        "share": check_memory_share(device),
        "lack": show_lack_of_memory(device, quick=quick),
    }
