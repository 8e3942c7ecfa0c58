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
from comparison import compare

NAMES = {f"change_{name}": name for name in thesis.BASELINE}


def main() -> None:
    """Print, write and draw the changes."""
    (results,), out = paper.open_results(__doc__, thesis.SMALL)
    table = thesis.changes(thesis.layer_table(results), list(thesis.BASELINE))
    means = comparison.summary(table, ["scenario"], list(NAMES))
    means = means.set_index("scenario").reindex(list(thesis.SCENARIOS)).reset_index()
    means["scenario"] = means["scenario"].map(thesis.SCENARIOS)
    base = table[table["scenario"] == "baseline"]

    print(paper.scale_line(results))

    rows = [
        {"measure": thesis.MEASURES[name], "baseline": compare(float(base[name].mean()), value)}
        for name, value in thesis.BASELINE.items()
    ]
    paper.print_table(pd.DataFrame(rows), "Where changes start: ours | published | difference")
    text = means[["scenario", "n"]].copy()
    for column, name in NAMES.items():
        cells = means[[column, f"{column}_pm"]].itertuples(index=False)
        text[thesis.MEASURES[name]] = [
            paper.interval_text(mean, half, "+.3g") for mean, half in cells
        ]
    paper.print_table(text, "Mean change against the baseline, % (n: data sets x seeds)")

    figure = panels.dots(
        means[means["scenario"] != "baseline"].dropna(subset="change_accuracy"),
        "scenario",
        {
            "change_accuracy": "accuracy, % (right is better)",
            "change_attack_auc": "membership AUC, % (left is better)",
            "change_inversion_mse": "inversion MSE, % (right is better)",
        },
        title="Change against the undefended baseline",
    )
    paper.save(out, "thesis_figure_3", means, figure)


if __name__ == "__main__":
    main()
