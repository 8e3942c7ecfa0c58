"""Gianitsos, Figure 2: accuracy and epsilon after each epoch on MNIST, over the noise multiplier.

python analysis/papers/face_inversion_figure_2.py [results/face_inversion_mnist] [--out figures]

Published in words: 98.65 % without DP, 96.8 % at epsilon 30, half a percent less at 4.5.
"""

from __future__ import annotations

from math import inf, nan

import comparison
import pandas as pd
import panels
import paper
from comparison import compare

STORE = "face_inversion_mnist"
PUBLISHED = {inf: 98.65, 30.0: 96.8, 4.5: 96.3}  # accuracy in % by epsilon; the last is derived
NEAR = 1.25  # a published epsilon is compared with ours when neither is this many times the other


def published_at(epsilon: float) -> float | None:
    """Return the accuracy that is published at about this epsilon, %.

    >>> published_at(28.7), published_at(4.1), published_at(1.6)
    (96.8, 96.3, None)
    """
    near = [
        accuracy
        for value, accuracy in PUBLISHED.items()
        if value == epsilon or 1 / NEAR <= value / epsilon <= NEAR
    ]
    return near[0] if near else None


def main() -> None:
    """Print accuracy and epsilon at the end; write and draw them after each epoch."""
    (results,), out = paper.open_results(__doc__, STORE)
    trials = comparison.trial_table(results)
    epochs = results.epochs.merge(trials[["trial_id", "noise_multiplier"]], on="trial_id")
    epochs["accuracy"] *= 100
    by = ["noise_multiplier", "epoch"]
    table = comparison.summary(epochs, by, ["accuracy", "epsilon"]).sort_values(by)
    last = table[table["epoch"] == table["epoch"].max()]

    print(paper.scale_line(results))

    rows = [
        {
            "sigma": f"{row['noise_multiplier']:g}",
            "epsilon": f"{row['epsilon']:.3g}",
            "seeds": row["n"],
            "accuracy": compare(
                row["accuracy"], published_at(row["epsilon"]), row["accuracy_pm"], " %"
            ),
        }
        for row in last.to_dict("records")
    ]
    near = [published_at(epsilon) for epsilon in last["epsilon"]]
    rows += [
        {"epsilon": f"{epsilon:g}", "accuracy": compare(nan, accuracy, unit=" %")}
        for epsilon, accuracy in PUBLISHED.items()
        if accuracy not in near
    ]
    paper.print_table(
        pd.DataFrame(rows).astype(object).fillna("-"),
        "After the last epoch; accuracy: ours | published | difference",
    )
    names = {
        s: f"sigma {s:g} (epsilon {e:.2g})" if s else "no DP"
        for s, e in zip(last["noise_multiplier"], last["epsilon"], strict=True)
    }

    figure = panels.curves(
        table.assign(named=table["noise_multiplier"].map(names)),
        "epoch",
        {"accuracy": "accuracy (validation), %", "epsilon": "epsilon spent"},
        "named",
        title="MNIST: more noise learns more slowly and spends less",
        x_label="epoch",
        log=["epsilon"],
        published=pd.DataFrame(
            {"epoch": table["epoch"].max(), "accuracy": list(PUBLISHED.values())}
        ),
    )
    paper.save(out, "face_inversion_figure_2", table, figure)


if __name__ == "__main__":
    main()
