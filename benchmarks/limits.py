"""Measure whether a configuration that was chosen by limits obeys them again.

python -m benchmarks.limits [--json] [--seeds 5] [--models 16] [--confirm 32] [--out DIR]:
sweeps benchmarks/spaces/limits.yaml, confirms its front, chooses by `raysweep best --where`, and
measures each choice again with fresh seeds, which change the deal, too. `sweep` chooses among the
claims of the sweep, `confirmed` among the confirmed figures, and `ends` among those by the ends of
their intervals (`attack_auc_high <= 0.6`). `obeyed` counts the seeds that meet every limit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import raysweep
from benchmarks.common import finish, options
from raysweep.space.parsing import parse_space

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "benchmarks/spaces/limits.yaml"
LIMITS = {"accuracy": (">=", 0.8, "low"), "attack_auc": ("<=", 0.6, "high")}
"""Figure -> which side of which bound is allowed, and the end of the interval on the other."""


def run(*command: str) -> str:
    """Run raysweep and return what it printed; "" where nothing fits."""
    done = subprocess.run([RAYSWEEP, *command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"raysweep {' '.join(command)} failed")
    return done.stdout if done.returncode == 0 else ""


def conditions(*, by_ends: bool) -> list[str]:
    """Return the limits as options of `raysweep best`, on figures or on ends of intervals."""
    return [
        option
        for figure, (sign, bound, end) in LIMITS.items()
        for option in ("--where", f"{figure}{f'_{end}' if by_ends else ''} {sign} {bound}")
    ]


def again(chosen: str, seed: int, models: int) -> dict[str, float]:
    """Return the figures of a chosen configuration, given as YAML, on a fresh seed and deal."""
    document: dict[str, Any] = yaml.safe_load(chosen)
    document["dataset"].pop("deal_seed", None)
    document |= {"seed": seed, "measure": {"models": models}}
    config = parse_space(yaml.safe_dump(document), "chosen").config()
    trial = raysweep.run_trial(config).trial
    figures = {name: getattr(trial, name) for name in LIMITS}
    print(f"{config.defences} seed {seed}: {figures}", file=sys.stderr, flush=True)
    return figures


def obeys(figures: Mapping[str, float]) -> bool:
    """Return whether figures meet every limit."""
    return all(
        figures[name] >= bound if sign == ">=" else figures[name] <= bound
        for name, (sign, bound, _) in LIMITS.items()
    )


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
    confirmed = f"{given.out}/confirm"
    choices = {
        "ends": run("best", confirmed, *conditions(by_ends=True)),
        "confirmed": run("best", confirmed, *conditions(by_ends=False)),
        "sweep": run("best", given.out, *conditions(by_ends=False)),
    }

    result: dict[str, Any] = {"limits": conditions(by_ends=False)[1::2]}
    seeds = range(1000, 1000 + given.seeds)
    for name, chosen in choices.items():
        found = [again(chosen, seed, given.models) for seed in seeds] if chosen else []
        defences = yaml.safe_load(chosen)["defences"] if chosen else None
        obeyed = sum(map(obeys, found))
        result[name] = {"defences": defences, "obeyed": obeyed, "of": len(found), "seeds": found}

    finish(result, as_json=given.json)


if __name__ == "__main__":
    main()
