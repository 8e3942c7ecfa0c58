"""Kaya et al. 2020, Table 2: the baselines and the two attacks on them.

python analysis/papers/regularisers_table_2.py [RESULTS ...] [--out figures]
"""

from __future__ import annotations

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import compare

STORES = (
    published.SMALL,
    published.SMALL_VGG4,
    published.SMALL_TABLE_8,
    published.FULL_VGG4,
)


def main() -> None:
    """Print and draw accuracy, Adv Yeom and Adv Salem of each task."""
    folders, out = paper.open_results(__doc__, *STORES)

    print(*map(paper.scale_line, folders), sep="\n")
    means = pd.concat(map(published.baseline_means, folders), ignore_index=True)
    means["task"] = means["dataset"].map(published.TASKS)

    rows = []
    for line in means.to_dict("records"):
        theirs = published.BASELINE[line["dataset"]]
        row = {
            "task": line["task"],
            "ours with (members at rate)": line["model"],
            "seeds": line["n"],
        }
        for (name, label), value in zip(published.MEASURES.items(), theirs[:3], strict=True):
            row[label] = compare(line[name], value, line[f"{name}_pm"], " %")
        rows.append(row)
    paper.print_table(pd.DataFrame(rows), paper.table_title(list(published.MEASURES.values())))
    for dataset in sorted(published.TASKS.keys() - set(means["dataset"])):
        print(f"{published.TASKS[dataset]}: {published.not_run_message(dataset)}")
    stars = pd.DataFrame(
        {"task": published.TASKS[dataset], **dict(zip(published.MEASURES, theirs[:3], strict=True))}
        for dataset, theirs in published.BASELINE.items()
    )

    figure = panels.dots(
        means,
        "task",
        {name: f"{label}, %" for name, label in published.MEASURES.items()},
        hue="model",
        published=stars,
        title="The undefended baselines (stars: published)",
        mark=None,
    )
    paper.save(out, "regularisers_table_2", means, figure)


if __name__ == "__main__":
    main()
