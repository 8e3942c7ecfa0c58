"""Measure the memory of workers: private memory beside shared images, and the peak of a trial.

python -m benchmarks.memory [--json] [--repeats 5]: `private_mib_per_worker` is the additional
private memory (pages that no other process shares) that each of four workers holds at its peak in a
sweep over 60,000 images, compared with the same sweep over 600. Both run in turn. `peak_rss_mib` is
the largest memory of a worker in the first trials of search_spaces/epsilon_dropout_l2.yaml (DP-SGD
and plain training, a shadow model, decoders), read from the records.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import raysweep
from benchmarks.common import finish, options, spread

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
IDLE_MIB = 300  # a worker that ran no trial holds 120, because it has not imported torch
SMALL = {"members": 240, "nonmembers": 60, "pool": 240, "validation": 30, "test": 30}


def descendants(pid: int) -> list[int]:
    """Return the processes under ``pid``."""
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(child) for child in task.read_text().split()]
    return children + [inner for child in children for inner in descendants(child)]


def private_mib(pid: int) -> float:
    """Return the memory of a process that no other shares, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def is_trial(pid: int) -> bool:
    """Return whether a process runs trials now."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::ImplicitFunc")


def peaks(command: list[str]) -> list[float]:
    """Run a sweep and return the largest private memory of each worker, in MiB."""
    peak_by_pid: dict[int, float] = {}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            for pid in descendants(process.pid):
                if is_trial(pid):
                    peak_by_pid[pid] = max(peak_by_pid.get(pid, 0.0), private_mib(pid))
        except (OSError, ProcessLookupError):  # the process has ended meanwhile
            pass
        time.sleep(0.05)
    assert process.returncode == 0
    return [peak for peak in peak_by_pid.values() if peak > IDLE_MIB]


def main() -> None:
    """Run the sweeps and print the memory of their workers."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4, help="of the thesis CNN")
    arguments = parser.parse_args()
    more, workers = [], []

    with tempfile.TemporaryDirectory() as folder:
        sizes = [part for key, n in SMALL.items() for part in ("--set", f"dataset.{key}={n}")]
        for number in range(arguments.repeats):
            sweep = [RAYSWEEP, "sweep", "benchmarks/spaces/memory.yaml"]
            small = peaks([*sweep, "--out", f"{folder}/small{number}", *sizes])
            large = peaks([*sweep, "--out", f"{folder}/large{number}"])
            more.append(max(large) - sum(small) / len(small))
            workers.append(len(large))
            print(f"{number + 1} of {arguments.repeats}: {more[-1]:.0f} MiB", file=sys.stderr)
        space, out = "search_spaces/epsilon_dropout_l2.yaml", f"{folder}/thesis"
        command = [RAYSWEEP, "sweep", space, "--out", out, "--trials", str(arguments.trials)]
        subprocess.run(command, check=True, capture_output=True)
        rss = raysweep.load(out).trials["peak_memory_mib"].tolist()

    result = {
        "private_mib_per_worker": spread(more)["median"],
        "private_mib_per_worker_spread": spread(more),
        "workers": min(workers),
        "peak_rss_mib": max(rss),
        "peak_rss_mib_spread": spread(rss),
    }
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
