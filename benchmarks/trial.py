"""Compare trials a minute with the straightforward sweep of `benchmarks/baseline.py`.

python -m benchmarks.trial [--full] [--json] [--only digits]: both sweeps use Ray on
two cores and run in turn, each in a process of its own. Trials a minute are counted between the
ends of the second and the last trial: the start of Ray is not included, the start of each trial is.
The straightforward sweep is slow: one turn of both takes 8 minutes (2 cores, AVX2), the five of
``--full`` take 40.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import finish, options, spread

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
TRIALS = {"digits": (6, 20), "fashion_mnist": (4, 8)}  # of the baseline, of raysweep


def trials_per_minute(ends: list[float]) -> float:
    """Return the rate between the second and the last end of a trial (seconds)."""
    return 60 * (len(ends) - 2) / (ends[-1] - ends[1])


def baseline_rate(name: str, trials: int) -> float:
    """Return the straightforward sweep's trials a minute."""
    command = [sys.executable, "-m", "benchmarks.baseline", name, str(trials)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    ends = json.loads(done.stdout.splitlines()[-1])
    assert len(ends) == trials
    return trials_per_minute(ends)


def raysweep_rate(name: str, trials: int) -> float:
    """Return raysweep's trials a minute."""
    with tempfile.TemporaryDirectory() as folder:
        space = f"benchmarks/spaces/trial_{name}.yaml"
        command = [RAYSWEEP, "sweep", space, "--out", folder, "--trials", str(trials)]
        subprocess.run(command, check=True, capture_output=True)
        ends = sorted(file.stat().st_mtime for file in Path(folder, "trials").glob("*.parquet"))
    assert len(ends) == trials
    return trials_per_minute(ends)


def main() -> None:
    """Run both sweeps in turn, and print the ratio of their rates."""
    parser = options(__doc__)
    parser.add_argument("--full", action="store_true", help="five turns, not one")
    parser.add_argument("--only", choices=list(TRIALS))
    arguments = parser.parse_args()
    repeats = 5 if arguments.full else 1

    result: dict[str, Any] = {}
    for name in [arguments.only] if arguments.only else list(TRIALS):
        theirs, ours = TRIALS[name]
        turns = []
        for number in range(repeats):
            turns.append((baseline_rate(name, theirs), raysweep_rate(name, ours)))
            rates = "baseline {:.1f}, raysweep {:.1f} trials a minute".format(*turns[-1])
            print(f"{name} {number + 1} of {repeats}: {rates}", file=sys.stderr)
        faster = spread([b / a for a, b in turns])
        result |= {
            f"speedup_over_baseline_{name}": faster["median"],
            f"speedup_over_baseline_{name}_spread": faster,
            f"trials_per_minute_{name}": spread([b for _, b in turns]),
            f"baseline_trials_per_minute_{name}": spread([a for a, _ in turns]),
        }

    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
