"""Kill parts of a sweep at random moments and count what that cost.

python -m benchmarks.faults [--seeds 20] [--kinds driver worker raylet head] [--json]

Each run is a real sweep of TRIALS trials on digits, disturbed once at a moment drawn from its seed:
`driver` SIGKILLs the command, which is then given again; `worker` SIGKILLs a process that trains;
`raylet` SIGKILLs one of two worker nodes, and another joins; `head` SIGKILLs the head node and the
driver on it, and the same command is given on a new cluster. `lost` counts finished trials that are
gone, `duplicated` finished trials that were run again, `incomplete` runs that did not end with all
trials asked for and the front of an undisturbed sweep. `retries` holds why attempts failed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import raysweep
from benchmarks.common import finish, options
from benchmarks.nodes import Nodes

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/faults.yaml"
TRIALS = 10
KINDS = ("driver", "worker", "raylet", "head")
PATIENCE = 600.0  # seconds for a sweep to reach the moment, or its end


@dataclass
class Tally:
    """What the disturbed runs of one kind came to."""

    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    incomplete: int = 0
    retries: Counter[str] = field(default_factory=Counter)


class Sweep:
    """A sweep in a process of its own, and what it has written so far."""

    def __init__(self, out: Path, *more: str) -> None:
        self.out = out
        self._log = (out.parent / f"{out.name}.log").open("ab")
        self.process = subprocess.Popen(
            [RAYSWEEP, "sweep", SPACE, "--out", str(out), "--trials", str(TRIALS), *more],
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

    def trainers(self) -> list[int]:
        """Return the processes that run trials on the Ray that this sweep started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [p.pid for p in children if p.name().startswith("ray::ImplicitFunc")]


def kill_driver(out: Path, moment: Callable[[Sweep], None], rng: random.Random) -> dict[str, int]:
    """Kill the command and give it again; return what was finished when it died."""
    sweep = Sweep(out)
    moment(sweep)
    sweep.kill()
    before = sweep.finished()
    Sweep(out).end()
    return before


def kill_worker(out: Path, moment: Callable[[Sweep], None], rng: random.Random) -> dict[str, int]:
    """Kill a process that trains."""
    sweep = Sweep(out)
    moment(sweep)
    before = sweep.finished()
    if sweep.process.poll() is None and (trainers := sweep.trainers()):
        os.kill(rng.choice(trainers), signal.SIGKILL)
    sweep.end()
    return before


def kill_raylet(out: Path, moment: Callable[[Sweep], None], rng: random.Random) -> dict[str, int]:
    """Kill one of two worker nodes; another joins 2 seconds later."""
    with Nodes(workers=2) as nodes:
        sweep = Sweep(out, "--address", nodes.address)
        moment(sweep)
        before = sweep.finished()
        nodes.kill(rng.randrange(2))
        time.sleep(2)
        nodes.add()
        sweep.end()
    return before


def kill_head(out: Path, moment: Callable[[Sweep], None], rng: random.Random) -> dict[str, int]:
    """Kill the head node and the driver on it; give the command again on a new cluster."""
    with Nodes(workers=2) as nodes:
        sweep = Sweep(out, "--address", nodes.address)
        moment(sweep)
        nodes.kill_head()
        sweep.kill()
        before = sweep.finished()
    with Nodes(workers=2) as nodes:
        Sweep(out, "--address", nodes.address).end()
    return before


FAULTS = {"driver": kill_driver, "worker": kill_worker, "raylet": kill_raylet, "head": kill_head}


def front(out: Path) -> list[tuple[str, float, float]]:
    """Return the front as plain figures."""
    found = raysweep.load(str(out)).front()
    columns = ["trial_id", "accuracy", "attack_auc"]
    return [(str(i), round(a, 6), round(b, 6)) for i, a, b in found[columns].to_numpy().tolist()]


def run(kind: str, seed: int, folder: Path, reference: Path, tally: Tally) -> None:
    """Disturb one sweep and count."""
    rng = random.Random(f"{kind} {seed}")
    after, delay = rng.randrange(TRIALS - 1), rng.uniform(0, 0.5)

    def moment(sweep: Sweep) -> None:
        sweep.wait_for(after)
        time.sleep(delay)

    out = folder / f"{kind}-{seed}"
    before = FAULTS[kind](out, moment, rng)
    trials = raysweep.load(str(out)).trials
    now = {f.name: f.stat().st_mtime_ns for f in (out / "trials").glob("*.parquet")}
    tally.runs += 1
    tally.lost += sum(name not in now for name in before)
    tally.duplicated += sum(now.get(name, time) != time for name, time in before.items())
    whole = len(trials) == TRIALS and trials["status"].eq("ok").all()
    tally.incomplete += not (whole and front(out) == front(reference))
    for told in trials["retries"].dropna():
        tally.retries.update(reason[:60] for reason in json.loads(told))


def main() -> None:
    """Disturb and count."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    tallies = {kind: Tally() for kind in arguments.kinds}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        reference = folder / "undisturbed"
        Sweep(reference).end()
        for seed in range(arguments.seeds):
            for kind in arguments.kinds:
                run(kind, seed, folder, reference, tallies[kind])
                told = ", ".join(f"{k} {v}" for k, v in vars(tallies[kind]).items())
                print(f"{kind} {seed}: {told}", file=sys.stderr)
    keys = ("runs", "lost", "duplicated", "incomplete")
    total = {key: sum(getattr(tally, key) for tally in tallies.values()) for key in keys}
    finish({**total, "kinds": {k: vars(t) for k, t in tallies.items()}}, as_json=arguments.json)


if __name__ == "__main__":
    main()
