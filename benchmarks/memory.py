"""What a worker takes: its own memory beside the shared images, and its peak with the thesis CNN.

python -m benchmarks.memory [--json] [--repeats 5]: `private_mib_per_worker` is how much more
private memory (pages that no other process shares) each of four workers holds at its peak when a
sweep is over 60,000 images than when the same sweep is over 600; both in turns. `peak_rss_mib` is
the most that a worker held in the first trials of search_spaces/epsilon_dropout_l2.yaml (DP-SGD and
plain training, a shadow, decoders), by the records.
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
IDLE_MIB = 300  # a worker without torch holds 120: it ran no trial
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
    """Run a sweep and return the most private memory that each of its workers held, in MiB."""
    found: dict[int, float] = {}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            for pid in descendants(process.pid):
                if is_trial(pid):
                    found[pid] = max(found.get(pid, 0.0), private_mib(pid))
        except (OSError, ProcessLookupError):  # it ended while it was looked at
            pass
        time.sleep(0.05)
    assert process.returncode == 0
    return [peak for peak in found.values() if peak > IDLE_MIB]


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4, help="of the thesis CNN")
    arguments = parser.parse_args()
    more, workers = [], []
    with tempfile.TemporaryDirectory() as folder:
        sizes = [part for key, n in SMALL.items() for part in ("--set", f"dataset.{key}={n}")]
        for number in range(arguments.repeats):
            own = [RAYSWEEP, "sweep", "benchmarks/spaces/memory.yaml"]
            small = peaks([*own, "--out", f"{folder}/small{number}", *sizes])
            large = peaks([*own, "--out", f"{folder}/large{number}"])
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
