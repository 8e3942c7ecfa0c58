"""Kaya et al. 2020, Tables 3 - 5: what each mechanism costs and how far it lowers the attacks.

python analysis/papers/regularisers_tables_3_to_5.py [RESULTS ...] [--out figures]

Max is the setting of highest accuracy; RAD < 5 % and < 15 % that of lowest Adv Yeom within this
relative accuracy drop. All figures are changes relative to the baseline, in %.
"""

from __future__ import annotations

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import compare

LABELS = {
    name: f"change of {label}, %"
    for name, label in zip(published.CHANGES, published.MEASURES.values(), strict=True)
}


def compare_settings(
    run: pd.DataFrame, best: pd.DataFrame, theirs: dict[str, published.Cell]
) -> pd.DataFrame:
    """Return one row a mechanism: the two settings, and ours | published | difference."""
    rows = []
    for scenario, cell in theirs.items():
        chosen = best[best["scenario"] == scenario]
        row = {"mechanism": scenario, "published": published.setting_text(scenario, cell[0])}
        row["ours"] = published.setting_or_reason(run, best, scenario)
        for (name, label), value in zip(LABELS.items(), cell[1:], strict=True):
            ours = (
                (chosen[name].iloc[0], chosen[f"{name}_pm"].iloc[0])
                if len(chosen)
                else (float("nan"),) * 2
            )
            row[label] = compare(ours[0], value, ours[1], " %")
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the three columns of each task's table; write and draw all settings."""
    folders, out = paper.open_results(__doc__, published.SMALL, published.SMALL_VGG4)

    print(*map(paper.scale_line, folders), sep="\n")
    means = pd.concat(map(published.setting_means, folders), ignore_index=True)
    for dataset, model, rows in published.split_by_network(means):
        for i, limit in enumerate(published.LIMITS):
            theirs = {name: cells[i] for name, cells in published.TABLES_3_TO_5[dataset].items()}
            table = compare_settings(rows, published.best_settings(rows, limit), theirs)
            title = f"{published.TASKS[dataset]} ({model}), {limit}"
            paper.print_table(table, f"{title}: ours | published | difference")
    for dataset in sorted(published.TASKS.keys() - set(means["dataset"])):
        print(f"\n{published.TASKS[dataset]}: {published.not_run_message(dataset)}")
    means = published.sort_settings(means)

    figure = panels.dots(
        means,
        "row",
        LABELS,
        hue="model",
        published=published_points(means),
        title="What each mechanism costs and takes from the attacks (stars: published)",
    )
    paper.save(out, "regularisers_tables_3_to_5", means, figure)


def published_points(means: pd.DataFrame) -> pd.DataFrame:
    """Return the published values of the settings that were run."""
    rows = [
        {"scenario": scenario, "setting": setting, **dict(zip(LABELS, changes, strict=True))}
        for dataset in means["dataset"].unique()
        for scenario, row in published.TABLES_3_TO_5[dataset].items()
        for setting, *changes in row
    ]
    table = pd.DataFrame(rows).drop_duplicates(["scenario", "setting"])
    table["row"] = published.setting_labels(table)
    return table[table["row"].isin(means["row"])]


if __name__ == "__main__":
    main()
