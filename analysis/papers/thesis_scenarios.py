"""Giammarresi 2021: eight scenarios x three data sets x four measures.

python analysis/papers/thesis_scenarios.py [RESULTS ...] [--out figures]

The thesis' summary publishes the baseline's means over the three data sets; the other values are
in its figures' words alone. Training times are of a machine with other work on it.
"""

from __future__ import annotations

import comparison
import pandas as pd
import panels
import paper
import thesis
from comparison import beside


def main() -> None:
    """Print the four measures of each scenario and data set; write and draw them."""
    (results,), out = paper.opened(__doc__, thesis.SMALL)
    table = thesis.measured(results)
    means = comparison.summary(table, ["dataset", "scenario"], list(thesis.MEASURES))
    print(paper.scale(results))
    for dataset, name in thesis.TASKS.items():
        own = means[means["dataset"] == dataset]
        if own.empty:
            print(f"\n{name}: {paper.not_run('thesis')}")
            continue
        text = pd.DataFrame({"scenario": own["scenario"].map(thesis.SCENARIOS), "seeds": own["n"]})
        for measure, label in thesis.MEASURES.items():
            cells = own[[measure, f"{measure}_pm"]].itertuples(index=False)
            text[label] = [paper.spread(mean, half) for mean, half in cells]
        paper.told(text, name)
    base = means[means["scenario"] == "baseline"]
    names = " and ".join(base["dataset"].map(thesis.TASKS))
    rows = [
        {"measure": thesis.MEASURES[key], names: beside(float(base[key].mean()), value)}
        for key, value in thesis.BASELINE.items()
    ]
    paper.told(pd.DataFrame(rows), "Baseline: ours | published (three data sets) | difference")
    figure = panels.dots(
        means.replace({"scenario": thesis.SCENARIOS, "dataset": thesis.TASKS}),
        "scenario",
        {name: label for name, label in thesis.MEASURES.items() if name != "train_seconds"},
        hue="dataset",
        published=pd.DataFrame([{"scenario": "baseline", **thesis.BASELINE}]),
        title="The scenarios that were run (stars: published mean of three data sets)",
        mark=None,
    )
    paper.written(out, "thesis_scenarios", means, figure)


if __name__ == "__main__":
    main()
