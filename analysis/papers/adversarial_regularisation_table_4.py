"""Nasr et al. 2018, Table 4: accuracy and attack accuracy with and without the defence.

python analysis/papers/adversarial_regularisation_table_4.py [RESULTS...] [--out figures]

The last column is the accuracy of the attack that calls an example a member when it is classified
right. An attack with the label can do at least that. Where the published attack is below it, a
stronger one was possible. The defence beside L2 is not in the paper.

RESULTS are those of any space search_spaces/papers/adversarial_regularisation_*.yaml. Synthetic
records stand beside the published Purchase100.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nasr
import pandas as pd
import panels
import paper
from comparison import compare

PUBLISHED: dict[tuple[str, str], tuple[nasr.Row, nasr.Row]] = {  # without, with the defence
    ("purchase100", "record_mlp"): ((100, 80.1, 67.6), (92.2, 76.5, 51.6)),
    ("texas100", "record_mlp"): ((81.6, 51.9, 63.0), (55.0, 47.5, 51.0)),
    ("cifar100", "alexnet"): ((99, 44.7, 53.2), (66.3, 43.6, 50.7)),
    ("cifar100", "densenet"): ((100, 70.6, 54.5), (80.3, 67.6, 51.0)),
}
SPACES = {
    ("purchase100", "record_mlp"): "adversarial_regularisation_purchase100",
    ("texas100", "record_mlp"): "adversarial_regularisation_texas100",
    ("cifar100", "alexnet"): "adversarial_regularisation_cifar100_alexnet",
    ("cifar100", "densenet"): "adversarial_regularisation_cifar100_densenet",
}


SETTING = ["l2", "adversarial_regularisation"]


def setting_text(row: Mapping[Any, Any]) -> str:
    """Return the name of a setting.

    >>> setting_text({"adversarial_regularisation": 3.0, "l2": 0.01})
    'lambda 3 and L2 0.01'
    """
    weight, decay = row["adversarial_regularisation"], row["l2"]
    parts = []
    if weight:
        parts.append(f"lambda {weight:g}")
    if decay:
        parts.append(f"L2 {decay:g}")
    return " and ".join(parts) or "without"


def main() -> None:
    """Print the table and what the defence costs; draw accuracy and attack accuracy."""
    stores, out = paper.open_results(__doc__, nasr.STORE)
    tables = []
    for results in stores:
        print(paper.scale_line(results))
        table = nasr.attack_table(results)
        decays = table.loc[table["scenario"] == "both", "l2"]
        shown = table["scenario"].isin(["baseline", "defended", "both"])
        tables.append(table[shown | table["l2"].isin(decays)])
    table = pd.concat(tables)
    means = nasr.setting_means(table).sort_values(["dataset", *SETTING])

    rows = []
    for row in means.to_dict("records"):
        key = (str(row["dataset"]).replace("synthetic_purchase", "purchase100"), row["model"])
        weight = row["adversarial_regularisation"]
        theirs = PUBLISHED.get(key, (nasr.UNKNOWN,) * 2)[weight > 0]
        if row["l2"]:
            theirs = nasr.UNKNOWN
        train, validation, _ = theirs
        published = None
        if train is not None and validation is not None:
            published = nasr.right_or_wrong_accuracy(train, validation)
        least = compare(
            nasr.right_or_wrong_accuracy(row["train_accuracy"], row["accuracy"]), published
        )
        cells = {**nasr.table_cells(row, theirs), "right or wrong alone": least}
        rows.append({"data": row["dataset"], "defence": setting_text(row), **cells})
    paper.print_table(pd.DataFrame(rows), "Table 4, %: ours | published | difference")
    for (dataset, model), space in SPACES.items():
        if not ((table["dataset"] == dataset) & (table["model"] == model)).any():
            print(f"{dataset}, {model}: {paper.not_run_message(space)}")
    _print_costs(table)
    _draw(out, means)


def _print_costs(table: pd.DataFrame) -> None:
    """Print the paired differences between targets with and without the defence."""
    decays = table.loc[table["scenario"] == "both", "l2"].unique()
    for decay in (0.0, *decays):
        against = f"L2 {decay:g} alone" if decay else "nothing"
        rows = [
            {"defence": setting_text(row), **nasr.table_cells(row, nasr.UNKNOWN)}
            for row in nasr.paired_differences(table, decay).sort_values(SETTING).to_dict("records")
            if row["adversarial_regularisation"] or row["l2"] != decay
        ]
        paper.print_table(pd.DataFrame(rows), f"Against {against}, points, seed by seed")


def _draw(out: Path, means: pd.DataFrame) -> None:
    published = PUBLISHED["purchase100", "record_mlp"]
    shown = means.assign(
        defence=[setting_text({**row, "l2": 0}) for row in means.to_dict("records")],
        group=means["l2"].map(lambda decay: f"ours, with L2 {decay:g}" if decay else "ours"),
    )

    figure = panels.points(
        shown,
        "accuracy",
        "attack_accuracy",
        "defence",
        title=f"What is kept, what leaks{nasr.data_note(means)}",
        labels=nasr.FIGURES,
        published=pd.DataFrame(list(published), columns=list(nasr.FIGURES)),
        hue="group",
    )
    paper.save(out, "adversarial_regularisation_table_4", means, figure)


if __name__ == "__main__":
    main()
