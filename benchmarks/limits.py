"""Measure whether a configuration that was chosen by limits obeys them again.

python -m benchmarks.limits [--json] [--seeds 5] [--models 16] [--confirm 32] [--out DIR]: sweeps
benchmarks/spaces/limits.yaml, confirms its front, chooses by `raysweep best --where`, and measures
each choice again with fresh seeds, which change the deal, too. `sweep` chooses among the claims of
the sweep, `confirmed` among the confirmed figures, and `ends` among those by the ends of their
intervals (`attack_auc_high <= 0.6`). Printed is in how many of the seeds a choice met both limits;
null where nothing met them. DIR may hold a finished sweep and its confirmation.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import raysweep
from benchmarks.common import finish, options
from raysweep.space.parsing import parse_space

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/limits.yaml"

LIMITS = [(0.8, 0.62), (0.8, 0.6), (0.75, 0.59), (0.65, 0.58)]
"""(least accuracy, highest attack AUC)."""

SEEDS = 1000  # the first fresh seed


def run(*command: str) -> str:
    """Run raysweep and return what it printed; "" where nothing fits."""
    done = subprocess.run([RAYSWEEP, *command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"raysweep {' '.join(command)} failed")
    return done.stdout if done.returncode == 0 else ""


def conditions(least: float, most: float, *, by_ends: bool = False) -> list[str]:
    """Return limits as conditions on figures, or on the ends of their intervals."""
    low, high = ("_low", "_high") if by_ends else ("", "")
    return [f"accuracy{low} >= {least}", f"attack_auc{high} <= {most}"]


def choose(folder: str, where: Sequence[str]) -> str:
    """Return the configuration that `raysweep best` chooses as YAML, without comments."""
    found = run("best", folder, *(part for one in where for part in ("--where", one)))
    return yaml.safe_dump(yaml.safe_load(found)) if found else ""


@functools.cache
def again(chosen: str, seed: int, models: int) -> tuple[float, float]:
    """Return accuracy and attack AUC of a configuration, as YAML, on a fresh seed and deal."""
    document: dict[str, Any] = yaml.safe_load(chosen)
    document["dataset"].pop("deal_seed", None)
    document |= {"name": "again", "seed": seed, "measure": {"models": models}}
    trial = raysweep.run_trial(parse_space(yaml.safe_dump(document), "chosen").config()).trial
    assert trial.accuracy is not None
    assert trial.attack_auc is not None
    where = f"{document['defences']} seed {seed}"
    print(f"{where}: {trial.accuracy:.4f}, {trial.attack_auc:.4f}", file=sys.stderr, flush=True)
    return trial.accuracy, trial.attack_auc


def main(arguments: Sequence[str] | None = None) -> None:
    """Sweep, confirm, choose in each way, and measure the choices again."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", type=int, default=16, help="of each trial and fresh seed")
    parser.add_argument("--confirm", type=int, default=32, help="models of a confirmation")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--out", default="results/limits")
    given = parser.parse_args(arguments)

    more = ["--trials", str(given.trials), "--set", f"measure.models={given.models}"]
    run("sweep", SPACE, "--out", given.out, *more)
    run("confirm", given.out, "--models", str(given.confirm))

    result: dict[str, Any] = {}
    for least, most in LIMITS:
        by_ends = conditions(least, most, by_ends=True)
        chosen = {
            "sweep": choose(given.out, conditions(least, most)),
            "confirmed": choose(f"{given.out}/confirm", conditions(least, most)),
            "ends": choose(f"{given.out}/confirm", by_ends),
        }
        for name, one in chosen.items():
            seeds = range(SEEDS, SEEDS + given.seeds)
            found = [again(one, seed, given.models) for seed in seeds] if one else []
            obeyed = sum(accuracy >= least and auc <= most for accuracy, auc in found)
            result[f"{name}: {least} {most}"] = {
                "obeyed": obeyed if one else None,
                "defences": yaml.safe_load(one)["defences"] if one else None,
            }

    finish({**result, "seeds": given.seeds}, as_json=given.json)


if __name__ == "__main__":
    main()
