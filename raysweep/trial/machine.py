"""The device and threads of a trial, and the most memory that it used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits


class PeakMemory:
    """The peak memory of this process since the object was made, GPU memory included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with contextlib.suppress(OSError):  # then the peak counts from the start of the process
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


@contextlib.contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let PyTorch and the libraries of linear algebra use ``threads`` threads inside the block.

    Small matrices gain nothing from more, and beside other programs they wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """Return the name of a device as records store it."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
