"""Measure the cost of scheduling, proposing, recording and showing for each trial.

python -m benchmarks.overhead [--json] [--repeats 5]: a real sweep of the quickstart's space by Ray
Tune and Optuna's TPE, two trials at a time, with Parquet and progress. Its trials do no work: each
returns the rows of one real trial, with figures drawn from its configuration. Seconds a trial are
the gaps between records: over the whole sweep of 200, and over the last 200 of 2,000 (their median
is the figure). `driver_mib` is the memory of the driver after 500 and 2,000 trials.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.common import finish, options, spread

SPACE = "search_spaces/quickstart.yaml"
TEMPLATE = "RAYSWEEP_BENCHMARK_TEMPLATE"


def run_instantly(proposal: dict[str, Any], **_: Any) -> None:
    """Return a real trial's rows at once, under the proposed configuration."""
    import numpy as np
    from ray import tune

    from raysweep.records.tables import pack
    from raysweep.records.trial_config import TrialConfig

    config = TrialConfig.from_json(proposal["config"])
    trial_id = config.trial_id
    template = pickle.loads(Path(os.environ[TEMPLATE]).read_bytes())
    accuracy, auc, mse = np.random.default_rng(int(trial_id, 16)).random(3)
    trial = dataclasses.replace(
        template.trial,
        trial_id=trial_id,
        defences=config.defences,
        config=config.to_json(),
        accuracy=float(accuracy),
        attack_auc=float(auc),
        inversion_mse=float(mse),
    )
    renamed = {
        name: tuple(dataclasses.replace(row, trial_id=trial_id) for row in getattr(template, name))
        for name in ("attacks", "epochs")
    }
    tune.report({"result": pack(dataclasses.replace(template, trial=trial, **renamed))})


def resident_mib() -> float:
    """Return the resident memory of this process, in MiB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in status if x.startswith("VmRSS")).split()[1]) / 1024


def run(trials: int, out: str) -> dict[str, Any]:
    """Sweep ``trials`` instant trials in this process and return gaps and memory."""
    import raysweep
    from raysweep.driver import worker
    from raysweep.driver.sweep import sweep
    from raysweep.records.store import Store
    from raysweep.records.tables import Packed

    space = raysweep.load_space(SPACE)
    template = raysweep.run_trial(space.baseline())
    Path(out).mkdir(parents=True)
    file = Path(out) / "template.pickle"
    file.write_bytes(pickle.dumps(template))
    os.environ[TEMPLATE] = str(file)
    worker.run = run_instantly
    memory: dict[str, float] = {}
    done = threading.Event()

    write = Store.write
    ends: list[float] = []

    def write_and_note(store: Store, packed: Packed, **more: Any) -> None:
        write(store, packed, **more)
        ends.append(time.time())

    Store.write = write_and_note  # type: ignore[method-assign, assignment]

    def watch() -> None:
        marks = [500, trials]
        while not done.wait(0.2):
            while marks and len(ends) >= marks[0]:
                memory[str(marks.pop(0))] = resident_mib()

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.time()
    sweep(space, out=f"{out}/sweep", trials=trials, max_concurrent=2)
    seconds = time.time() - start
    done.set()
    watcher.join()
    memory.setdefault(str(trials), resident_mib())
    assert len(ends) == trials
    gaps = [b - a for a, b in itertools.pairwise(ends)]
    return {"seconds": seconds, "gaps": gaps, "memory": memory}


def run_in_process(trials: int) -> dict[str, Any]:
    """Run one sweep in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.overhead", "--run", str(trials)]
        done = subprocess.run(
            [*command, "--out", f"{folder}/run"], check=True, stdout=subprocess.PIPE, text=True
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Run the sweeps in processes of their own, and print the costs."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="sweeps of 200 trials")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        with contextlib.redirect_stdout(io.StringIO()):
            figures = run(arguments.run, arguments.out)
        print(json.dumps(figures))
        return

    short = []
    for number in range(arguments.repeats):
        gaps = run_in_process(200)["gaps"]
        short.append(sum(gaps) / len(gaps))
        print(f"200 trials, {number + 1} of {arguments.repeats}: {short[-1]:.3f}", file=sys.stderr)

    long = run_in_process(2000)
    last = spread(long["gaps"][-200:])
    result = {
        "seconds_per_trial_200": spread(short)["median"],
        "seconds_per_trial_200_spread": spread(short),
        "seconds_per_trial_2000": last["median"],
        "seconds_per_trial_2000_spread": last,
        "driver_mib": long["memory"],
    }
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
