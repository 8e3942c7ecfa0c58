"""Gianitsos, the unnumbered figure: a softmax's accuracy per epoch without DP and at epsilon 430.

python analysis/papers/face_inversion_accuracy.py [results/face_inversion_dp] [--out figures]

Published: 83 % without DP, 79 % at epsilon 430 (sigma 0.4), on validation; DP prevents overfitting.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
from comparison import compare

STORE = "face_inversion_dp"
PUBLISHED = {0.0: 83.0, 0.4: 79.0}  # % by sigma
NAMES = {0.0: "no DP", 0.4: "DP, epsilon about 430 (sigma 0.4)"}
LABELS = {
    "accuracy": "accuracy (validation), %",
    "train_accuracy": "accuracy (members), %",
    "overfitting": "members - validation, points",
}


def main() -> None:
    """Print the last epoch's accuracies; write and draw them after each epoch."""
    (results,), out = paper.open_results(__doc__, STORE)
    trials = comparison.trial_table(results).drop_duplicates(["noise_multiplier", "seed"])
    trials = trials[trials["noise_multiplier"].isin(PUBLISHED)]
    epochs = results.epochs.merge(trials[["trial_id", "noise_multiplier"]], on="trial_id")
    epochs[["accuracy", "train_accuracy"]] *= 100
    epochs["overfitting"] = epochs["train_accuracy"] - epochs["accuracy"]
    table = comparison.summary(epochs, ["noise_multiplier", "epoch"], list(LABELS))
    table = table.sort_values(["noise_multiplier", "epoch"])
    last = table[table["epoch"] == table["epoch"].max()]
    leaks = comparison.summary(trials, ["noise_multiplier"], ["attack_auc"])
    last = last.merge(leaks, on="noise_multiplier")

    print(paper.scale_line(results))

    rows = [
        {
            "training": NAMES[row["noise_multiplier"]],
            "validation": compare(
                row["accuracy"], PUBLISHED[row["noise_multiplier"]], row["accuracy_pm"], " %"
            ),
            "members": compare(row["train_accuracy"], None, row["train_accuracy_pm"], " %"),
            "overfitting": compare(row["overfitting"], None, row["overfitting_pm"]),
            "AUC of the loss": compare(row["attack_auc"], None, row["attack_auc_pm"]),
        }
        for row in last.to_dict("records")
    ]
    paper.print_table(pd.DataFrame(rows), paper.table_title(["accuracy after the last epoch"]))

    figure = panels.curves(
        table.assign(training=table["noise_multiplier"].map(NAMES)),
        "epoch",
        {name: LABELS[name] for name in ("accuracy", "overfitting")},
        "training",
        title="Epsilon 430: less accurate, and no less overfitted",
        x_label="epoch",
        published=pd.DataFrame(
            {"epoch": [table["epoch"].max()] * 2, "accuracy": list(PUBLISHED.values())}
        ),
    )
    paper.save(out, "face_inversion_accuracy", table, figure)


if __name__ == "__main__":
    main()
