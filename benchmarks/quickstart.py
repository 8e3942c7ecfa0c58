"""Measure the README's first command from the prompt to the front.

python -m benchmarks.quickstart [--json] [--runs 3]: prints `seconds` of the whole command, those
until its first trial ran (`first_trial_seconds`), the largest memory of a worker
(`peak_worker_mib`), the time that a reused worker needs to start a trial (`trial_start_seconds`,
from a sweep of one trial at a time, evaluations of epochs included), and the accuracy of the target
without a defence and at epsilon 8 over five seeds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import raysweep
from benchmarks.common import finish, options, spread

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "search_spaces/quickstart.yaml"
SEEDS = range(5)


def sweep_seconds(out: str, *more: str) -> float:
    """Run the sweep and return its seconds from the prompt to the front."""
    start = time.perf_counter()
    subprocess.run([RAYSWEEP, "sweep", SPACE, "--out", out, *more], check=True, capture_output=True)
    return time.perf_counter() - start


def seconds_to_first_trial(out: str, began: float) -> float:
    """Return the seconds from ``began``, a time of the clock, until the first trial ran."""
    first = pd.to_datetime(raysweep.load(out).trials["started_at"], utc=True).min()
    return float(first.timestamp() - began)


def start_gaps(out: str) -> list[float]:
    """Return the seconds between the end of each trial and the start of the next."""
    trials = raysweep.load(out).trials.sort_values("started_at")
    clock = pd.to_datetime(trials["started_at"])
    began = (clock - clock.min()).dt.total_seconds()
    parts = ["train_seconds", "ensemble_seconds", "attack_seconds"]
    ended = began + trials[parts].sum(axis=1)
    gaps = began.to_numpy()[1:] - ended.to_numpy()[:-1]
    return [float(gap) for gap in gaps]


def accuracies(epsilon: float) -> list[float]:
    """Return the validation accuracy at ``epsilon`` over the seeds; the split changes with them."""
    reached = []
    for seed in SEEDS:
        space = raysweep.load_space(
            SPACE,
            {"seed": seed, "attacks": {"membership": ["loss"]}, "objectives": {"accuracy": "max"}},
        )
        record = raysweep.run_trial(space.config({"target_epsilon": epsilon})).trial
        assert record.accuracy is not None
        reached.append(record.accuracy)
    return reached


def main() -> None:
    """Run the sweeps and the single trials, and print the figures."""
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    times, firsts, memory = [], [], []

    with tempfile.TemporaryDirectory() as folder:
        for run in range(arguments.runs):
            out, began = f"{folder}/{run}", time.time()
            times.append(sweep_seconds(out))
            firsts.append(seconds_to_first_trial(out, began))
            memory.append(float(raysweep.load(out).trials["peak_memory_mib"].max()))
        sweep_seconds(f"{folder}/one", "--max-concurrent", "1", "--trials", "12")
        gaps = start_gaps(f"{folder}/one")

    result = {
        "seconds": spread(times),
        "first_trial_seconds": spread(firsts),
        "peak_worker_mib": spread(memory),
        "trial_start_seconds": spread(gaps[1:]),
        "accuracy_undefended": spread(accuracies(float("inf"))),
        "accuracy_at_epsilon_8": spread(accuracies(8.0)),
    }
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
