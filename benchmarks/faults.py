"""Kill parts of a sweep at random moments, and count lost and repeated trials.

python -m benchmarks.faults [--seeds 20] [--first 0] [--kinds driver worker raylet head] [--json]

For each kind one real sweep on digits (random proposals, about eight trials a kill) is disturbed
once for each seed, at a moment drawn from the seed:

- `driver` kills the command, which is then started again.
- `worker` kills a process that trains.
- `raylet` kills one of two worker nodes, and another joins.
- `head` kills the head node and the driver on it, and the command is started on a new cluster.

`runs` counts kills, `lost` finished trials that are gone, `duplicated` finished trials that ran
again, and `incomplete` sweeps that did not end with all trials and the front of an undisturbed
sweep. `retries` holds the reasons why attempts failed. All kills are SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import raysweep
from benchmarks.common import finish, options
from benchmarks.nodes import Nodes

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/faults.yaml"
# More than the trials between two kills, or a sweep would end before its last kill.
TRIALS_A_KILL = 8

# A kill comes after one to WITHIN trials and up to half a second. At least one trial finishes
# between two kills, so that no trial loses all of its attempts.
WITHIN = 3
KINDS = ("driver", "worker", "raylet", "head")
PATIENCE = 600.0  # seconds for a sweep to reach the moment, or its end


@dataclass
class Tally:
    """The counts of one kind of kills."""

    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    incomplete: int = 0
    retries: Counter[str] = field(default_factory=Counter)


class Sweep:
    """A sweep in a process of its own, and the records that it has written."""

    def __init__(self, out: Path, trials: int, *more: str) -> None:
        self.out = out
        self._log = (out.parent / f"{out.name}.log").open("ab")
        self.process = subprocess.Popen(
            [RAYSWEEP, "sweep", SPACE, "--out", str(out), "--trials", str(trials), *more],
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def finished(self) -> dict[str, int]:
        """Return the finished trials with the time at which each was written."""
        files = list((self.out / "trials").glob("*.parquet"))
        return {file.name: file.stat().st_mtime_ns for file in files}

    def wait_for(self, n: int) -> None:
        """Wait until ``n`` trials are finished, or the sweep has ended."""
        deadline = time.monotonic() + PATIENCE
        while len(self.finished()) < n and self.process.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {n} trials in {self.out}")
            time.sleep(0.02)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.kill()
            self._log.close()

    def kill(self) -> None:
        """SIGKILL the driver and wait until the Ray that it started is gone."""
        family = [self.process.pid]
        try:
            family += [p.pid for p in psutil.Process(self.process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        self.process.kill()
        self.process.wait()
        psutil.wait_procs([psutil.Process(p) for p in family if psutil.pid_exists(p)], timeout=30)

    def wait_for_trainers(self) -> list[int]:
        """Return the processes that run trials on this sweep's Ray; none when it has ended."""
        while self.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # the process has ended meanwhile
                children = psutil.Process(self.process.pid).children(recursive=True)
                trainers = [
                    p.pid for p in children if p.name().startswith("ray::ImplicitFunc.train")
                ]
                if trainers:
                    return trainers
            time.sleep(0.02)
        return []


Before = list[dict[str, int]]
"""At each kill the finished trials, with the time at which each was written."""


def wait_for_moment(sweep: Sweep, rng: random.Random) -> bool:
    """Wait until the moment of the kill; return whether the sweep still runs."""
    sweep.wait_for(len(sweep.finished()) + 1 + rng.randrange(WITHIN))
    time.sleep(rng.uniform(0, 0.5))
    return sweep.process.poll() is None


def kill_driver(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill the command and start it again."""
    before: Before = []
    for rng in rngs:
        sweep = Sweep(out, trials)
        is_running = wait_for_moment(sweep, rng)
        sweep.kill()
        before += [sweep.finished()] if is_running else []
    Sweep(out, trials).end()
    return before


def kill_worker(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill a process that trains."""
    before: Before = []
    sweep = Sweep(out, trials)
    for rng in rngs:
        if wait_for_moment(sweep, rng) and (trainers := sweep.wait_for_trainers()):
            before.append(sweep.finished())
            os.kill(rng.choice(trainers), signal.SIGKILL)
    sweep.end()
    return before


def kill_raylet(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill one of two worker nodes; another joins 2 seconds later."""
    before: Before = []
    with Nodes(workers=2) as nodes:
        sweep = Sweep(out, trials, "--address", nodes.address)
        for rng in rngs:
            if wait_for_moment(sweep, rng):
                before.append(sweep.finished())
                nodes.kill(rng.randrange(2))
                time.sleep(2)
                nodes.add()
        sweep.end()
    return before


def kill_head(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill the head node and the driver on it; start the command on a new cluster."""
    before: Before = []
    for rng in rngs:
        with Nodes(workers=2) as nodes:
            sweep = Sweep(out, trials, "--address", nodes.address)
            is_running = wait_for_moment(sweep, rng)
            nodes.kill_head()
            sweep.kill()
            before += [sweep.finished()] if is_running else []
    with Nodes(workers=2) as nodes:
        Sweep(out, trials, "--address", nodes.address).end()
    return before


FAULTS = {"driver": kill_driver, "worker": kill_worker, "raylet": kill_raylet, "head": kill_head}


def front(out: Path) -> list[tuple[str, float, float]]:
    """Return the front as plain figures."""
    columns = ["trial_id", "accuracy", "attack_auc"]
    rows = raysweep.load(str(out)).front()[columns].to_numpy().tolist()
    return [(str(i), round(a, 6), round(b, 6)) for i, a, b in rows]


def disturb(kind: str, seeds: range, folder: Path, reference: Path) -> Tally:
    """Disturb one sweep once for each seed, and return the counts."""
    out, trials = folder / kind, number_of_trials(seeds)
    before = FAULTS[kind](out, trials, [random.Random(f"{kind} {seed}") for seed in seeds])
    records = raysweep.load(str(out)).trials
    now = {f.name: f.stat().st_mtime_ns for f in (out / "trials").glob("*.parquet")}
    last = {name: time for finished in before[::-1] for name, time in finished.items()}
    failed = records[records["status"] != "ok"]
    whole = len(records) == trials and failed.empty
    if not whole:
        failures = failed[["number", "status", "attempts", "error"]].to_string()
        print(f"{kind}: {len(records)} of {trials} trials; {failures}", file=sys.stderr)

    tally = Tally(
        runs=len(before),
        lost=sum(name not in now for name in last),
        duplicated=sum(now.get(name, time) != time for name, time in last.items()),
        incomplete=int(not (whole and front(out) == front(reference))),
    )
    for reasons in records["retries"].dropna():
        tally.retries.update(reason[:60] for reason in json.loads(reasons))

    return tally


def number_of_trials(seeds: range) -> int:
    """Return the number of trials of a sweep that is disturbed once for each seed."""
    return TRIALS_A_KILL * (len(seeds) + 1)


def main() -> None:
    """Disturb a sweep by each kind of kills, and print the counts."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    tallies = {}

    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        folder = Path(temporary)
        reference = folder / "undisturbed"
        Sweep(reference, number_of_trials(seeds)).end()
        for kind in arguments.kinds:
            tallies[kind] = disturb(kind, seeds, folder, reference)
            print(f"{kind}: {vars(tallies[kind])}", file=sys.stderr)

    keys = ("runs", "lost", "duplicated", "incomplete")
    total = {key: sum(getattr(tally, key) for tally in tallies.values()) for key in keys}
    finish({**total, "kinds": {k: vars(t) for k, t in tallies.items()}}, as_json=arguments.json)


if __name__ == "__main__":
    main()
