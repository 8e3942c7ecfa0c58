"""Giammarresi 2021, Figure 3: mean change against the baseline in accuracy, AUC and MSE.

python analysis/papers/thesis_figure_3.py [RESULTS ...] [--out figures]

Means over data sets and seeds, in %. The published figure has no numbers in the text but the
baseline's.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import thesis
from comparison import beside

NAMES = {f"change_{name}": name for name in thesis.BASELINE}


def main() -> None:
    """Print, write and draw the changes."""
    (results,), out = paper.opened(__doc__, thesis.SMALL)
    table = thesis.changes(thesis.measured(results), list(thesis.BASELINE))
    found = comparison.summary(table, ["scenario"], list(NAMES))
    found = found.set_index("scenario").reindex(list(thesis.SCENARIOS)).reset_index()
    found["scenario"] = found["scenario"].map(thesis.SCENARIOS)
    base = table[table["scenario"] == "baseline"]
    print(paper.scale(results))
    rows = [
        {"measure": thesis.MEASURES[name], "baseline": beside(float(base[name].mean()), value)}
        for name, value in thesis.BASELINE.items()
    ]
    paper.told(pd.DataFrame(rows), "Where changes start: ours | published | difference")
    text = found[["scenario", "n"]].copy()
    for column, name in NAMES.items():
        cells = found[[column, f"{column}_pm"]].itertuples(index=False)
        text[thesis.MEASURES[name]] = [paper.spread(mean, half, "+.3g") for mean, half in cells]
    paper.told(text, "Mean change against the baseline, % (n: data sets x seeds)")
    figure = panels.dots(
        found[found["scenario"] != "baseline"].dropna(subset="change_accuracy"),
        "scenario",
        {
            "change_accuracy": "accuracy, % (right is better)",
            "change_attack_auc": "membership AUC, % (left is better)",
            "change_inversion_mse": "inversion MSE, % (right is better)",
        },
        title="Change against the undefended baseline",
    )
    paper.written(out, "thesis_figure_3", found, figure)


if __name__ == "__main__":
    main()
