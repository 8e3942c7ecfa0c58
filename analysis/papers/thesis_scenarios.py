"""Giammarresi 2021: eight scenarios x three data sets x four measures.

python analysis/papers/thesis_scenarios.py [RESULTS ...] [--out figures]

The thesis publishes the baseline's means over the three data sets as numbers, the other values only
in words. Training times are those of thesis_times_small.yaml, measured while nothing else ran.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import thesis
from comparison import compare


def main() -> None:
    """Print the four measures of each scenario and data set; write and draw them."""
    stores, out = paper.open_results(__doc__, thesis.SMALL, thesis.TIMES)
    table = thesis.timed_table(stores)
    means = comparison.summary(table, ["dataset", "scenario"], list(thesis.MEASURES))

    print(paper.scale_line(stores[0]))
    for dataset, name in thesis.TASKS.items():
        rows = means[means["dataset"] == dataset]
        if rows.empty:
            print(f"\n{name}: {paper.not_run_message('thesis')}")
            continue
        text = pd.DataFrame(
            {"scenario": rows["scenario"].map(thesis.SCENARIOS), "seeds": rows["n"]}
        )
        for measure, label in thesis.MEASURES.items():
            cells = rows[[measure, f"{measure}_pm"]].itertuples(index=False)
            text[label] = [paper.interval_text(mean, half) for mean, half in cells]
        paper.print_table(text, name)
    base = means[means["scenario"] == "baseline"]
    names = " and ".join(base["dataset"].map(thesis.TASKS))

    lines = [
        {"measure": thesis.MEASURES[key], names: compare(float(base[key].mean()), value)}
        for key, value in thesis.BASELINE.items()
    ]
    title = "Baseline: ours | published (three data sets) | difference"
    paper.print_table(pd.DataFrame(lines), title)

    figure = panels.dots(
        means.replace({"scenario": thesis.SCENARIOS, "dataset": thesis.TASKS}),
        "scenario",
        {name: label for name, label in thesis.MEASURES.items() if name != "train_seconds"},
        hue="dataset",
        published=pd.DataFrame([{"scenario": "baseline", **thesis.BASELINE}]),
        title="The scenarios that were run (stars: published mean of three data sets)",
        mark=None,
    )
    paper.save(out, "thesis_scenarios", means, figure)


if __name__ == "__main__":
    main()
