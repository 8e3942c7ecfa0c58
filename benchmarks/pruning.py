"""Measure the training epochs that multi-objective pruning saves on real Fashion-MNIST.

python -m benchmarks.pruning [--json] replays five stored sweeps (benchmarks/pruning/seed-*: 30
random trials each of benchmarks/spaces/pruning.yaml, none stopped, cheap figures at the rungs). The
same trials come in the same order, and the pruner decides by the stored figures. The hypervolume is
that of the finished trials' full attacks.

- `epochs_ratio_at_95_hypervolume`: share of the unpruned sweep's epochs after which the pruned
  sweep has 95 % of the unpruned sweep's final hypervolume.
- `unpruned_epochs_ratio_at_95_hypervolume`: share after which the unpruned sweep has it.
- `unpruned_hypervolume_ratio_at_equal_epochs`: share that the unpruned sweep has after the epochs
  that the pruned one takes.
- `chosen_on_the_others`: the default was chosen on these sweeps. So this gives for every sweep the
  saving of the setting that is best on the other four.

`--full` runs the five sweeps first and continues those that exist.
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
from raysweep.driver.standings import Standings
from raysweep.records.columns import EpochRecord
from raysweep.records.results import Results, records
from raysweep.records.store import Store
from raysweep.space.parsing import load_space
from raysweep.space.settings import Pruning

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/pruning.yaml"
STORES = Path("benchmarks/pruning")
SEEDS = range(5)
SHARE = 0.95
Figures = dict[str, Any]
SETTINGS = {
    "default": Pruning(),
    "rung_9_keep_two_thirds": Pruning(keep=2 / 3),
    "rung_9_keep_a_third": Pruning(keep=1 / 3),
    "rung_6_keep_half": Pruning(grace_epochs=6, reduction_factor=3, keep=0.5),
    "rungs_3_9_keep_a_third": Pruning(grace_epochs=3, reduction_factor=3),
    "rungs_3_9_keep_half": Pruning(grace_epochs=3, reduction_factor=3, keep=0.5),
    "rungs_1_3_9_keep_a_third": Pruning(grace_epochs=1, reduction_factor=3),
}
"""The candidates for a default. The stores have figures at all of their rungs."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The course of a sweep: epochs spent and hypervolume reached after each trial."""

    epochs: Sequence[int]
    volumes: Sequence[float]
    stopped: int

    def epochs_until(self, volume: float) -> int | None:
        """Return the epochs after which ``volume`` is reached, or None if it never is."""
        pairs = zip(self.epochs, self.volumes, strict=True)
        return next((spent for spent, reached in pairs if reached >= volume), None)

    def volume_after(self, epochs: int) -> float:
        """Return the hypervolume reached when ``epochs`` were spent."""
        pairs = zip(self.epochs, self.volumes, strict=True)
        return max((reached for spent, reached in pairs if spent <= epochs), default=0.0)


def replay(results: Results, pruning: Pruning) -> Replay:
    """Return the course of a stored sweep under ``pruning``, one trial at a time."""
    space, trials = load_space(SPACE), results.trials
    last = space.config().training.epochs
    epochs = {key: rows.set_index("epoch") for key, rows in results.epochs.groupby("trial_id")}
    standings = Standings(space, pruning, results.epochs.iloc[:0])
    spent, stopped, volume = 0, 0, 0.0

    kept, spents, volumes = [], [], []
    for trial in records(trials):
        end = last
        for epoch in pruning.epochs(last):
            row = records(epochs[trial["trial_id"]].loc[[epoch]])[0]
            goes_on = standings.goes_on(EpochRecord(epoch=epoch, **row))
            if not goes_on and trial["number"] != 0:
                end = epoch
                break
        if end == last:
            kept.append(trial["trial_id"])
            volume = results.objectives.hypervolume(trials[trials["trial_id"].isin(kept)])
        spent, stopped = spent + end, stopped + (end < last)
        spents.append(spent)
        volumes.append(volume)

    return Replay(epochs=spents, volumes=volumes, stopped=stopped)


def measure(stores: Sequence[Results], whole: Sequence[Replay], pruning: Pruning) -> Figures:
    """Return the savings and the losses of ``pruning``, over the stores."""
    values_by_name: dict[str, list[float]] = {}
    for results, unpruned in zip(stores, whole, strict=True):
        pruned = replay(results, pruning)
        final, total = unpruned.volumes[-1], unpruned.epochs[-1]
        until = pruned.epochs_until(SHARE * final)
        figures = {
            "epochs_ratio_at_95_hypervolume": None if until is None else until / total,
            "final_hypervolume_ratio": pruned.volumes[-1] / final,
            "final_epochs_ratio": pruned.epochs[-1] / total,
            "unpruned_hypervolume_ratio_at_equal_epochs": unpruned.volume_after(pruned.epochs[-1])
            / final,
            "stopped": pruned.stopped,
        }
        for name, value in figures.items():
            values = values_by_name.setdefault(name, [])
            if value is not None:
                values.append(value)

    reached = len(values_by_name["epochs_ratio_at_95_hypervolume"])
    spreads = {name: spread(values) if values else None for name, values in values_by_name.items()}
    return {**spreads, "sweeps_that_reach_95": reached, "sweeps": len(stores)}


def choose_on_the_others(stores: Sequence[Results], whole: Sequence[Replay]) -> list[Figures]:
    """Return for each sweep the setting that is best on the others, and its saving there.

    The best setting reaches SHARE in most of the others, and then with the fewest epochs.
    """
    ratios: dict[str, list[float | None]] = {}
    for name, pruning in SETTINGS.items():
        for results, unpruned in zip(stores, whole, strict=True):
            until = replay(results, pruning).epochs_until(SHARE * unpruned.volumes[-1])
            ratio = None if until is None else until / unpruned.epochs[-1]
            ratios.setdefault(name, []).append(ratio)
    choices = []
    for i in range(len(stores)):
        others = {name: row[:i] + row[i + 1 :] for name, row in ratios.items()}
        best = min(others, key=lambda name: sum(2 if r is None else r for r in others[name]))
        choices.append({"setting": best, "epochs_ratio_at_95_hypervolume": ratios[best][i]})
    return choices


def run(seed: int, folder: str) -> None:
    """Run one sweep to its end and store its trials, attacks and epochs as one file each."""
    out = f"{folder}/pruning-{seed}"
    command = [RAYSWEEP, "sweep", SPACE, "--set", f"seed={seed}", "--out", out]
    subprocess.run(command, check=True, stdout=sys.stderr)
    results, store = raysweep.load(out), Store(str(STORES / f"seed-{seed}"))
    store.folder.write_bytes(Store(out).folder.read_bytes("space.yaml"), "space.yaml")
    for table, frame in (
        ("trials", results.trials),
        ("attacks", results.attacks),
        ("epochs", results.epochs),
    ):
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        store.folder.write_bytes(buffer.getvalue(), table, "merged-000001.parquet")


def main() -> None:
    """Run the sweeps with --full, replay the stores, and print the savings."""
    parser = options(__doc__)
    parser.add_argument("--full", action="store_true", help="run the five sweeps again")
    parser.add_argument("--results", default="results")
    arguments = parser.parse_args()
    if arguments.full:
        for seed in SEEDS:
            run(seed, arguments.results)

    folders = [STORES / f"seed-{seed}" for seed in SEEDS]
    missing = [str(folder) for folder in folders if not (folder / "space.yaml").exists()]
    if missing:
        parser.error(f"{', '.join(missing)}: missing; --full runs these sweeps")

    stores = [raysweep.load(str(folder)) for folder in folders]
    if any(results.epochs["tail"].isna().all() for results in stores):
        parser.error(
            "the stored sweeps have no `tail`, which rungs compare; --full runs them again"
        )
    whole = [replay(results, Pruning(keep=1)) for results in stores]
    alone = [(r.epochs_until(SHARE * r.volumes[-1]) or 0) / r.epochs[-1] for r in whole]
    settings = {name: measure(stores, whole, pruning) for name, pruning in SETTINGS.items()}
    result = {
        **settings.pop("default"),
        "unpruned_epochs_ratio_at_95_hypervolume": spread(alone),
        "chosen_on_the_others": choose_on_the_others(stores, whole),
        "other_settings": settings,
    }
    finish(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
