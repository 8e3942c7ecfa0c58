"""Kaya et al. 2020, Tables 7 and 8: distance to confident of members (S) and nonmembers (D).

python analysis/papers/regularisers_tables_7_and_8.py [RESULTS ...] [--out figures]

Distances are x 1000; the gap is (D - S) / D. Table 8 belongs to the column RAD < 15 %. The text of
the paper adds three pairs of mechanisms on CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import compare

CELLS = {
    published.NONMEMBERS: "distance of D x 1000",
    published.MEMBERS: "distance of S x 1000",
    published.GAP: "gap, %",
    published.YEOM: "Adv Yeom, %",
}
PAIRS: dict[str, tuple[dict[str, float], float, float]] = {  # on CIFAR-100: Adv Yeom, gap
    "c=16 and T=50": ({"random_crop": 16, "distillation_temperature": 50}, 5, 22),
    "c=16 and q=.25": ({"random_crop": 16, "spatial_dropout": 0.25}, 3, 9),
    "c=16 and E=5": ({"random_crop": 16, "early_stopping": 5}, 2, 0),
}


def table_cells(ours: Mapping[Any, Any], theirs: Sequence[float | None]) -> dict[str, str]:
    """Return ours | published | difference of each figure."""
    nan = float("nan")
    return {
        label: compare(ours.get(name, nan), value, ours.get(f"{name}_pm", nan))
        for (name, label), value in zip(CELLS.items(), theirs, strict=True)
    }


def table_7(base: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task and model: the baseline's distances."""
    rows = []
    for line in base.to_dict("records"):
        _, yeom, _, *distances = published.BASELINE[line["dataset"]]
        row = {"task": published.TASKS[line["dataset"]], "ours with": line["model"]}
        rows.append({**row, **table_cells(line, [*distances, yeom])})
    return pd.DataFrame(rows)


def table_8(run: pd.DataFrame, dataset: str, means: pd.DataFrame) -> pd.DataFrame:
    """Return one row a mechanism, at the setting that it has in ``means``."""
    best = means.set_index("scenario")

    rows = []
    for scenario, theirs in published.TABLE_8[dataset].items():
        ours = best.loc[scenario].to_dict() if scenario in best.index else {}
        setting = published.setting_or_reason(run, means, scenario)
        rows.append({"mechanism": scenario, "ours": setting, **table_cells(ours, theirs)})
    return pd.DataFrame(rows)


def select_published(means: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the rows whose settings are those of the paper's Table 8; empty unless all ran."""
    theirs = {name: cells[-1][0] for name, cells in published.TABLES_3_TO_5[dataset].items()}
    same = means[means["setting"] == means["scenario"].map(theirs)]
    return same if len(same) == len(theirs) else same.iloc[:0]


def order_text(means: pd.DataFrame, dataset: str) -> str:
    """Return the mechanisms by falling gap: ours, the published order, and their rank correlation.

    The rank correlation is also given without the mechanism that is most out of place.
    """
    ours = means.set_index("scenario")[published.GAP]
    theirs = pd.Series({name: row[2] for name, row in published.TABLE_8[dataset].items()})
    theirs = theirs[ours.index]
    by_gap = [" > ".join(gaps.sort_values(ascending=False).index) for gaps in (ours, theirs)]
    alike = ours.corr(theirs, method="spearman")
    without = {name: ours.drop(name).corr(theirs, method="spearman") for name in ours.index}
    odd = max(without, key=without.__getitem__)
    text = f"gaps, ours: {by_gap[0]}\n published: {by_gap[1]}\nrank correlation {alike:.2f}"
    return f"{text}, without {odd.replace('_', ' ')} {without[odd]:.2f}"


def pair_table(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row for each of the three pairs of the text."""
    rows = []
    for name, (settings, yeom, gap) in PAIRS.items():
        ours = published.means_at(tables, settings, list(CELLS))
        rows.append({"pair": name, **table_cells(ours, (None, None, gap, yeom))})
    return pd.DataFrame(rows)


def main() -> None:
    """Print Tables 7 and 8 and the three pairs; write every setting's, draw the gaps."""
    stores = (
        published.SMALL,
        published.SMALL_VGG4,
        published.SMALL_TABLE_8,
        published.LARGE_TABLE_8,
        published.SMALL_PAIRS,
    )
    folders, out = paper.open_results(__doc__, *stores)

    print(*map(paper.scale_line, folders), sep="\n")
    tables = [published.setting_means(results) for results in folders]
    singles = [results for results, table in zip(folders, tables, strict=True) if len(table)]
    base = pd.concat(map(published.baseline_means, singles), ignore_index=True)
    means = pd.concat(tables, ignore_index=True)
    paper.print_table(table_7(base), "Table 7: ours | published | difference")
    for dataset, model, run in published.split_by_network(means):
        place = f"Table 8, {published.TASKS[dataset]} ({model})"
        columns = {"RAD < 15 % here": published.best_settings(run, "RAD < 15 %")}
        same = select_published(run, dataset)
        if len(same):
            columns["at the published settings"] = same
        for which, rows in columns.items():
            table = table_8(run, dataset, rows)
            paper.print_table(table, f"{place}, {which}: ours | published | difference")
            print(order_text(rows, dataset))
    for dataset in sorted(published.TASKS.keys() - set(means["dataset"])):
        print(f"\nTables 7 and 8, {published.TASKS[dataset]}: {published.not_run_message(dataset)}")
    paired = [published.add_paper_changes(results) for results in folders]
    title = "Three pairs: ours (Fashion-MNIST) | published (CIFAR-100)"
    paper.print_table(pair_table(paired), title)
    drawn = pd.concat([base.assign(scenario="baseline"), drawn_settings(means)])

    figure = panels.dots(
        drawn.assign(scenario=drawn["scenario"].str.replace("_", " ")),
        "scenario",
        {published.GAP: "gap of the distances, %", published.YEOM: "Adv Yeom, %"},
        hue="model",
        published=published_points(base["dataset"].iloc[0]),
        title="Distance to confident at Table 8's settings (stars: published)",
    )
    paper.save(out, "regularisers_tables_7_and_8", pd.concat([base, means]), figure)


def drawn_settings(means: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the published settings; where they were not run, those of RAD < 15 %."""
    parts = []
    for dataset, model, run in published.split_by_network(means):
        rows = select_published(run, dataset)
        if rows.empty:
            rows = published.best_settings(run, "RAD < 15 %").assign(model=f"{model}, RAD < 15 %")
        parts.append(rows)
    return pd.concat(parts)


def published_points(dataset: str) -> pd.DataFrame:
    """Return the published rows of Tables 7 and 8."""
    _, yeom, _, *distances = published.BASELINE[dataset]
    theirs = {"baseline": (*distances, yeom), **published.TABLE_8[dataset]}
    table = pd.DataFrame.from_dict(theirs, orient="index", columns=list(CELLS))
    table.index = table.index.str.replace("_", " ")
    return table.reset_index(names="scenario")


if __name__ == "__main__":
    main()
