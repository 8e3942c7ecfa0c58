"""Kaya et al. 2020, Tables 3 - 5: what each mechanism costs and what it takes from the attacks.

python analysis/papers/regularisers_tables_3_to_5.py [RESULTS ...] [--out figures]

Max is the setting of highest accuracy; RAD < 5 % and < 15 % that of lowest Adv Yeom within this
relative accuracy drop. All figures are changes relative to the baseline, in %.
"""

from __future__ import annotations

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import beside

LABELS = {
    name: f"change of {label}, %"
    for name, label in zip(published.CHANGES, published.MEASURES.values(), strict=True)
}


def side_by_side(
    run: pd.DataFrame, best: pd.DataFrame, theirs: dict[str, published.Cell]
) -> pd.DataFrame:
    """Return one row a mechanism: the two settings, and ours | published | difference."""
    rows = []
    for scenario, cell in theirs.items():
        own = best[best["scenario"] == scenario]
        row = {"mechanism": scenario, "published": published.named(scenario, cell[0])}
        row["ours"] = published.setting_of(run, best, scenario)
        for (name, label), value in zip(LABELS.items(), cell[1:], strict=True):
            ours = (
                (own[name].iloc[0], own[f"{name}_pm"].iloc[0]) if len(own) else (float("nan"),) * 2
            )
            row[label] = beside(ours[0], value, ours[1], " %")
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the three columns of each task's table; write and draw all settings."""
    folders, out = paper.opened(__doc__, published.SMALL, published.SMALL_VGG4)
    print(*map(paper.scale, folders), sep="\n")
    found = pd.concat(map(published.points, folders), ignore_index=True)
    for dataset, model, own in published.groups(found):
        for i, limit in enumerate(published.LIMITS):
            theirs = {name: row[i] for name, row in published.TABLES_3_TO_5[dataset].items()}
            table = side_by_side(own, published.chosen(own, limit), theirs)
            title = f"{published.TASKS[dataset]} ({model}), {limit}"
            paper.told(table, f"{title}: ours | published | difference")
    for dataset in sorted(published.TASKS.keys() - set(found["dataset"])):
        print(f"\n{published.TASKS[dataset]}: {published.absent(dataset)}")
    found = published.in_order(found)
    figure = panels.dots(
        found,
        "row",
        LABELS,
        hue="model",
        published=stars(found),
        title="What each mechanism costs and takes from the attacks (stars: published)",
    )
    paper.written(out, "regularisers_tables_3_to_5", found, figure)


def stars(found: pd.DataFrame) -> pd.DataFrame:
    """Return what is published for the settings that were run."""
    rows = [
        {"scenario": scenario, "setting": setting, **dict(zip(LABELS, changes, strict=True))}
        for dataset in found["dataset"].unique()
        for scenario, row in published.TABLES_3_TO_5[dataset].items()
        for setting, *changes in row
    ]
    table = pd.DataFrame(rows).drop_duplicates(["scenario", "setting"])
    table["row"] = published.labelled(table)
    return table[table["row"].isin(found["row"])]


if __name__ == "__main__":
    main()
