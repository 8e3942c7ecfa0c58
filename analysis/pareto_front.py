"""Draw the Pareto front of one sweep, or of several that can be compared, and print it as a table.

    python analysis/pareto_front.py results/quickstart [MORE ...] [--out figures]

The front holds the trials that no other trial beats in every objective. The table shows what was
swept and what was measured. Only public names of raysweep are used: copy this script and change it.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import raysweep


def draw(finished: pd.DataFrame, front: pd.DataFrame, objectives: list[str]) -> Figure:
    """Return one panel for each pair of objectives: the front dark, the other trials pale."""
    pairs = list(itertools.combinations(objectives, 2)) or [(objectives[0], objectives[0])]
    baseline = finished[finished["number"] == 0]

    figure = Figure(figsize=(4.6 * len(pairs), 4.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(pairs)))
    for axes, (x, y) in zip(panels, pairs, strict=True):
        axes.scatter(finished[x], finished[y], color="lightgrey", label="finished trial")
        axes.scatter(front[x], front[y], color="navy", label="on the front")
        axes.scatter(baseline[x], baseline[y], s=160, marker="*", color="crimson", label="baseline")
        axes.set(xlabel=x, ylabel=y)

    panels[0].legend()
    figure.suptitle(f"{len(front)} of {len(finished)} finished trials are on the front")
    return figure


def main() -> None:
    """Write front.png and front.csv, and print the front."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", help="results folders of sweeps")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="where to write")
    arguments = parser.parse_args()

    results = raysweep.load(*arguments.results)
    front = results.front()
    finished = results.trials.query("status == 'ok'")

    # An axis may have the name of an objective: epsilon does, and then its column stands once.
    # An axis such as `training.epochs` has no column of its own: `config` holds its value.
    names = ["trial_id", *results.axes, *results.objectives.names, "strongest_attack"]
    columns = [name for name in dict.fromkeys(names) if name in front]

    arguments.out.mkdir(parents=True, exist_ok=True)
    front[columns].to_csv(arguments.out / "front.csv", index=False)
    print(front[columns].to_string(index=False, float_format="{:.4g}".format))

    draw(finished, front, list(results.objectives.names)).savefig(
        arguments.out / "front.png", dpi=150
    )
    print(f"Figure: {arguments.out / 'front.png'}, table: {arguments.out / 'front.csv'}")


if __name__ == "__main__":
    main()
