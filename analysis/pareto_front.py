"""Draw the front of any sweep, or of several, and print it as a table.

python analysis/pareto_front.py results/quickstart [more results ...] [--out figures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import raysweep
from raysweep.report import figures


def main() -> None:
    """Write front.png and front.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", help="results folders of sweeps")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    arguments = parser.parse_args()
    results = raysweep.load(*arguments.results)
    trials, front = results.trials, results.front()
    drawn = trials[results.objectives.eligible(trials)]
    volume = results.objectives.hypervolume(trials)
    title = f"{len(front)} of {len(drawn)} trials on the front, hypervolume {volume:.4f}"
    figure = figures.pareto_front(drawn, front, results.objectives, title=title)
    path = figures.save(figure, arguments.out / "front.png")
    columns = [
        "trial_id",
        "epsilon",
        "dropout",
        "l2",
        *results.objectives.names,
        "strongest_attack",
    ]
    front[columns].to_csv(arguments.out / "front.csv", index=False)
    print(front[columns].to_string(index=False, float_format="{:.4g}".format))
    print(f"Figure: {path}, table: {arguments.out / 'front.csv'}")


if __name__ == "__main__":
    main()
