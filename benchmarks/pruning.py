"""How many training epochs multi-objective pruning saves on real Fashion-MNIST.

python -m benchmarks.pruning [--json] replays five stored sweeps (benchmarks/pruning/seed-*: 30
random trials each of benchmarks/spaces/pruning.yaml, none stopped, cheap figures at the rungs):
the same trials come in the same order, and the pruner decides by what it would have seen. The
hypervolume is that of the finished trials' full attacks; `epochs_ratio_at_95_hypervolume` is the
share of the unpruned sweep's epochs after which the pruned one holds 95 % of its final hypervolume.
`--full` runs the five sweeps first (about an hour on two cores; continues what is there).
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import raysweep
from benchmarks.common import finish, options, spread
from raysweep.blocks import Pruning
from raysweep.record import EpochRecord
from raysweep.results import Results, covered, records
from raysweep.space import load_space
from raysweep.store import Store
from raysweep.sweep.pruning import Standings

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/pruning.yaml"
STORES = Path("benchmarks/pruning")
SEEDS = range(5)
SHARE = 0.95
SETTINGS = {
    "default": Pruning(),
    "keep_half": Pruning(keep=0.5),
    "grace_1": Pruning(grace_epochs=1),
    "grace_1_keep_half": Pruning(grace_epochs=1, keep=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A sweep as it went: after each trial, the epochs spent and the hypervolume held."""

    epochs: Sequence[int]
    volumes: Sequence[float]
    stopped: int

    def epochs_until(self, volume: float) -> int | None:
        """Return the epochs after which ``volume`` is held, or None if it never is."""
        pairs = zip(self.epochs, self.volumes, strict=True)
        return next((spent for spent, held in pairs if held >= volume), None)


def replay(results: Results, pruning: Pruning) -> Replay:
    """Return how the stored sweep would have gone under ``pruning``, one trial at a time."""
    space = load_space(SPACE)
    trials = results.trials
    epochs = results.epochs
    last = space.config().training.epochs
    board = Standings(space, pruning, epochs.iloc[:0])
    spent, kept, stopped = 0, [], 0
    spents, volumes = [], []
    for trial in records(trials):
        own = epochs[epochs["trial_id"] == trial["trial_id"]].set_index("epoch", drop=False)
        end = last
        for epoch in pruning.epochs(last):
            goes_on = board.goes_on(EpochRecord(**records(own.loc[[epoch]])[0]))
            if not goes_on and trial["number"] != 0:
                end = epoch
                break
        if end == last:
            kept.append(trial["trial_id"])
        spent += end
        stopped += end < last
        spents.append(spent)
        finished = trials[trials["trial_id"].isin(kept)]
        volumes.append(covered(finished, results.objectives))
    return Replay(epochs=spents, volumes=volumes, stopped=stopped)


def measured(stores: Sequence[Results], pruning: Pruning) -> dict[str, Any]:
    """Return what ``pruning`` saves and what it loses, over the stores."""
    ratios, volumes, spents, stopped = [], [], [], []
    for results in stores:
        whole = replay(results, Pruning(keep=1))
        pruned = replay(results, pruning)
        until = pruned.epochs_until(SHARE * whole.volumes[-1])
        ratios.append(None if until is None else until / whole.epochs[-1])
        volumes.append(pruned.volumes[-1] / whole.volumes[-1])
        spents.append(pruned.epochs[-1] / whole.epochs[-1])
        stopped.append(pruned.stopped)
    reached = [ratio for ratio in ratios if ratio is not None]
    return {
        "epochs_ratio_at_95_hypervolume": spread(reached) if reached else None,
        "seeds_that_reach_it": len(reached),
        "final_hypervolume_ratio": spread(volumes),
        "final_epochs_ratio": spread(spents),
        "stopped": spread(stopped),
    }


def run(seed: int, results: str) -> None:
    """Run one sweep to its end and keep its trials, attacks and epochs, a file each."""
    out = f"{results}/pruning-{seed}"
    command = [RAYSWEEP, "sweep", SPACE, "--set", f"seed={seed}", "--out", out]
    subprocess.run(command, check=True, stdout=sys.stderr)
    found, store = raysweep.load(out), Store(str(STORES / f"seed-{seed}"))
    store.write_bytes(Store(out).read_bytes("space.yaml"), "space.yaml")
    for table, frame in (
        ("trials", found.trials),
        ("attacks", found.attacks),
        ("epochs", found.epochs),
    ):
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        store.write_bytes(buffer.getvalue(), table, "all.parquet")


def main() -> None:
    """Make the stores where asked, replay, print."""
    parser = options(__doc__)
    parser.add_argument("--full", action="store_true", help="run the five sweeps again")
    parser.add_argument("--results", default="results")
    arguments = parser.parse_args()
    if arguments.full:
        for seed in SEEDS:
            run(seed, arguments.results)
    stores = [raysweep.load(str(STORES / f"seed-{seed}")) for seed in SEEDS]
    settings = {name: measured(stores, pruning) for name, pruning in SETTINGS.items()}
    finish({**settings.pop("default"), "other_settings": settings}, as_json=arguments.json)


if __name__ == "__main__":
    main()
