"""Giammarresi 2021: the largest p and lambda that cost less than a point of accuracy.

python analysis/papers/thesis_strengths.py [RESULTS ...] [--out figures]

The thesis does not publish them. It does claim that a higher lambda protects the output more.
"""

from __future__ import annotations

import comparison
import panels
import paper

STORE = "thesis_strengths_small"
LIMIT = 1.0
MEASURES = {
    "accuracy": "change of accuracy, points",
    "inversion_mse": "change of black-box MSE, %",
    "auc_max_posterior": "change of AUC, points",
}


def main() -> None:
    """Print each strength's cost and the largest that is cheap; write and draw them."""
    (results,), out = paper.open_results(__doc__, STORE)
    table = comparison.trial_table(results)
    table = comparison.add_changes(table, ["inversion_mse"])
    base = table[comparison.is_neutral(table)].set_index("seed")
    for name in ("accuracy", "auc_max_posterior"):
        table[name] = 100 * (table[name] - table["seed"].map(base[name]))
    table["inversion_mse"] = 100 * table["change_inversion_mse"]
    table = table[table["scenario"].isin(["l2", "dropout"])]
    table["strength"] = table[["l2", "dropout"]].max(axis=1)
    means = comparison.summary(table, ["scenario", "strength"], list(MEASURES))

    print(paper.scale_line(results))
    text = means[["scenario", "strength", "n"]].copy()
    for name, label in MEASURES.items():
        cells = means[[name, f"{name}_pm"]].itertuples(index=False)
        text[label] = [paper.interval_text(mean, half, "+.2g") for mean, half in cells]
    paper.print_table(text, "Against the undefended baseline (published: nothing)")
    for scenario, rows in means.groupby("scenario"):
        cheap = rows[rows["accuracy"] > -LIMIT]["strength"]
        largest = f"{cheap.max():g}" if len(cheap) else "none"
        print(f"The largest {scenario} that costs less than a point: {largest}")

    figure = panels.dots(
        means.assign(
            row=[f"{s} {v:g}" for s, v in zip(means["scenario"], means["strength"], strict=True)]
        ),
        "row",
        MEASURES,
        hue="scenario",
        title="What each strength costs and protects",
    )
    paper.save(out, "thesis_strengths", means, figure)


if __name__ == "__main__":
    main()
