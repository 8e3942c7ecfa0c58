"""Kaya et al. 2020, Table 2: the baselines and the two attacks on them.

python analysis/papers/regularisers_table_2.py [RESULTS ...] [--out figures]
"""

from __future__ import annotations

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import beside

STORES = (
    published.SMALL,
    published.SMALL_VGG4,
    published.SMALL_TABLE_8,
    published.FULL_VGG4,
)


def main() -> None:
    """Print and draw accuracy, Adv Yeom and Adv Salem of each task."""
    folders, out = paper.opened(__doc__, *STORES)
    print(*map(paper.scale, folders), sep="\n")
    found = pd.concat(map(published.baselines, folders), ignore_index=True)
    found["task"] = found["dataset"].map(published.TASKS)
    rows = []
    for own in found.to_dict("records"):
        theirs = published.BASELINE[own["dataset"]]
        row = {"task": own["task"], "ours with (members at rate)": own["model"], "seeds": own["n"]}
        for (name, label), value in zip(published.MEASURES.items(), theirs[:3], strict=True):
            row[label] = beside(own[name], value, own[f"{name}_pm"], " %")
        rows.append(row)
    paper.told(pd.DataFrame(rows), paper.columns(list(published.MEASURES.values())))
    for dataset in sorted(published.TASKS.keys() - set(found["dataset"])):
        print(f"{published.TASKS[dataset]}: {published.absent(dataset)}")
    stars = pd.DataFrame(
        {"task": published.TASKS[dataset], **dict(zip(published.MEASURES, theirs[:3], strict=True))}
        for dataset, theirs in published.BASELINE.items()
    )
    figure = panels.dots(
        found,
        "task",
        {name: f"{label}, %" for name, label in published.MEASURES.items()},
        hue="model",
        published=stars,
        title="The undefended baselines (stars: published)",
        mark=None,
    )
    paper.written(out, "regularisers_table_2", found, figure)


if __name__ == "__main__":
    main()
