"""Gianitsos' epsilons: as published, recomputed under the paper's accountant, and ours.

python analysis/papers/face_inversion_epsilons.py [results/face_inversion_dp] [--out figures]

The paper's: sample rate 1, 100 steps, delta 1e-5, Renyi orders 1.1 ... 10.9 and 12 ... 63, the
classic conversion. Ours is read from the records: the same mechanism with finer orders and a
tighter conversion.
"""

from __future__ import annotations

from math import log

import comparison
import numpy as np
import pandas as pd
import panels
import paper
from comparison import compare

STORE = "face_inversion_dp"
PUBLISHED = {0.001: 5.5e7, 0.01: 5.5e5, 0.1: 5600, 0.4: 430, 1.1: 85, 1.5: 54, 3.5: 18}
ORDERS = np.array([1 + x / 10 for x in range(1, 100)] + list(range(12, 64)))
STEPS, DELTA = 100, 1e-5


def recomputed(sigma: float) -> float:
    """Return epsilon by the paper's accountant.

    The Renyi divergence of order a of STEPS full-batch Gaussian steps is STEPS a / (2 sigma^2).

    >>> round(recomputed(0.4), 1)
    432.6
    """
    spent = STEPS * ORDERS / (2 * sigma**2) + log(1 / DELTA) / (ORDERS - 1)
    return float(spent.min())


def main() -> None:
    """Print and write the three epsilons of each noise multiplier."""
    (results,), out = paper.open_results(__doc__, STORE)
    trials = comparison.trial_table(results).query("noise_multiplier > 0")
    spent = trials.groupby("noise_multiplier")["epsilon"].first()
    sigmas = sorted({*PUBLISHED, *spent.index})
    table = pd.DataFrame({"noise_multiplier": sigmas})
    table["published"] = table["noise_multiplier"].map(PUBLISHED)
    table["recomputed"] = table["noise_multiplier"].map(recomputed)
    table["ours"] = table["noise_multiplier"].map(spent)

    print(paper.scale_line(results))

    rows = [
        {
            "sigma": f"{row['noise_multiplier']:g}",
            "recomputed": compare(row["recomputed"], PUBLISHED.get(row["noise_multiplier"])),
            "ours": compare(row["ours"], PUBLISHED.get(row["noise_multiplier"])),
        }
        for row in table.to_dict("records")
    ]
    paper.print_table(pd.DataFrame(rows), "Epsilon at delta 1e-5: here | published | difference")
    off = (table["recomputed"] / table["published"] - 1).abs().max()
    print(f"\nRecomputed and published differ by at most {off:.1%}.")
    long = table.melt("noise_multiplier", ["recomputed", "ours"], "accountant", "epsilon")
    legend = {"recomputed": "the paper's accountant, recomputed", "ours": "ours, same mechanism"}

    figure = panels.curves(
        long.dropna().assign(accountant=lambda x: x["accountant"].map(legend)),
        "noise_multiplier",
        {"epsilon": "epsilon (smaller = more private)"},
        "accountant",
        title="The published epsilons follow from 100 full-batch steps",
        x_label="noise multiplier sigma",
        log=["noise_multiplier", "epsilon"],
        published=table.rename(columns={"published": "epsilon"}).dropna(subset="epsilon"),
    )
    paper.save(out, "face_inversion_epsilons", table, figure)


if __name__ == "__main__":
    main()
