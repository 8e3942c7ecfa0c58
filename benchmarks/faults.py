"""Kill parts of a sweep at random moments and count what that cost.

python -m benchmarks.faults [--seeds 20] [--first 0] [--kinds driver worker raylet head] [--json]

For each kind one real sweep on digits (random proposals, about eight trials a kill) is disturbed
once a seed, at a moment drawn from it: `driver` SIGKILLs the command, which is then given again;
`worker` SIGKILLs a process that trains; `raylet` SIGKILLs one of two worker nodes, and another
joins; `head` SIGKILLs the head node and the driver on it, and the same command is given on a new
cluster. `runs` counts kills, `lost` finished trials that are gone, `duplicated` finished trials
that were run again, `incomplete` sweeps that did not end with all trials asked for and the front of
an undisturbed one. `retries` holds why attempts failed.
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
TRIALS_A_KILL = 8  # more than pass until the next one, or a sweep would end before its last
WITHIN = 3  # trials after which a kill comes at the latest, and half a second; one at the least,
# so that no trial loses all of its attempts to kills that follow each other
KINDS = ("driver", "worker", "raylet", "head")
PATIENCE = 600.0  # seconds for a sweep to reach the moment, or its end


@dataclass
class Tally:
    """What the kills of one kind came to."""

    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    incomplete: int = 0
    retries: Counter[str] = field(default_factory=Counter)


class Sweep:
    """A sweep in a process of its own, and what it has written so far."""

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
        """Return the finished trials and when each was written."""
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
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended while it was looked at
                children = psutil.Process(self.process.pid).children(recursive=True)
                found = [p.pid for p in children if p.name().startswith("ray::ImplicitFunc.train")]
                if found:
                    return found
            time.sleep(0.02)
        return []


Before = list[dict[str, int]]
"""What was finished at each kill, and when each trial was written."""


def moment(sweep: Sweep, rng: random.Random) -> bool:
    """Wait for the moment to strike; return whether the sweep still runs."""
    sweep.wait_for(len(sweep.finished()) + 1 + rng.randrange(WITHIN))
    time.sleep(rng.uniform(0, 0.5))
    return sweep.process.poll() is None


def kill_driver(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill the command and give it again."""
    before: Before = []
    for rng in rngs:
        sweep = Sweep(out, trials)
        struck = moment(sweep, rng)
        sweep.kill()
        before += [sweep.finished()] if struck else []
    Sweep(out, trials).end()
    return before


def kill_worker(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill a process that trains."""
    before: Before = []
    sweep = Sweep(out, trials)
    for rng in rngs:
        if moment(sweep, rng) and (trainers := sweep.wait_for_trainers()):
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
            if moment(sweep, rng):
                before.append(sweep.finished())
                nodes.kill(rng.randrange(2))
                time.sleep(2)
                nodes.add()
        sweep.end()
    return before


def kill_head(out: Path, trials: int, rngs: list[random.Random]) -> Before:
    """Kill the head node and the driver on it; give the command again on a new cluster."""
    before: Before = []
    for rng in rngs:
        with Nodes(workers=2) as nodes:
            sweep = Sweep(out, trials, "--address", nodes.address)
            struck = moment(sweep, rng)
            nodes.kill_head()
            sweep.kill()
            before += [sweep.finished()] if struck else []
    with Nodes(workers=2) as nodes:
        Sweep(out, trials, "--address", nodes.address).end()
    return before


FAULTS = {"driver": kill_driver, "worker": kill_worker, "raylet": kill_raylet, "head": kill_head}


def front(out: Path) -> list[tuple[str, float, float]]:
    """Return the front as plain figures."""
    found = raysweep.load(str(out)).front()
    columns = ["trial_id", "accuracy", "attack_auc"]
    return [(str(i), round(a, 6), round(b, 6)) for i, a, b in found[columns].to_numpy().tolist()]


def run(kind: str, seeds: range, folder: Path, reference: Path) -> Tally:
    """Disturb one sweep once a seed, and count."""
    out, trials = folder / kind, trials_for(seeds)
    before = FAULTS[kind](out, trials, [random.Random(f"{kind} {seed}") for seed in seeds])
    found = raysweep.load(str(out)).trials
    now = {f.name: f.stat().st_mtime_ns for f in (out / "trials").glob("*.parquet")}
    last = {name: time for finished in before[::-1] for name, time in finished.items()}
    failed = found[found["status"] != "ok"]
    whole = len(found) == trials and failed.empty
    if not whole:
        told = failed[["number", "status", "attempts", "error"]].to_string()
        print(f"{kind}: {len(found)} of {trials} trials; {told}", file=sys.stderr)
    tally = Tally(
        runs=len(before),
        lost=sum(name not in now for name in last),
        duplicated=sum(now.get(name, time) != time for name, time in last.items()),
        incomplete=int(not (whole and front(out) == front(reference))),
    )
    for told in found["retries"].dropna():
        tally.retries.update(reason[:60] for reason in json.loads(told))
    return tally


def trials_for(seeds: range) -> int:
    """Return how many trials a sweep has that is disturbed so often."""
    return TRIALS_A_KILL * (len(seeds) + 1)


def main() -> None:
    """Disturb and count."""
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
        Sweep(reference, trials_for(seeds)).end()
        for kind in arguments.kinds:
            tallies[kind] = run(kind, seeds, folder, reference)
            print(f"{kind}: {vars(tallies[kind])}", file=sys.stderr)
    keys = ("runs", "lost", "duplicated", "incomplete")
    total = {key: sum(getattr(tally, key) for tally in tallies.values()) for key in keys}
    finish({**total, "kinds": {k: vars(t) for k, t in tallies.items()}}, as_json=arguments.json)


if __name__ == "__main__":
    main()
