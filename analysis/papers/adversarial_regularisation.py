"""Nasr et al. 2018, Tables 4, 6 and 7: accuracy and attack accuracy with and without the defence.

python analysis/papers/adversarial_regularisation.py results/adversarial_regularisation_small

Works on any of the spaces search_spaces/papers/adversarial_regularisation_*.yaml. The attack is a
fresh inference model; its accuracy is (1 + advantage) / 2. Each cell is ours | published |
difference, % and points; ours is the mean over seeds with its 95 % interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import raysweep
from raysweep import comparison, figures
from raysweep.comparison import beside

ATTACK = "attack_accuracy"
FIGURES = ["train_accuracy", "accuracy", ATTACK]
Row = tuple[float | None, float | None, float | None]
TABLE_4: dict[tuple[str, str, str], Row] = {
    ("purchase100", "record_mlp", "baseline"): (100, 80.1, 67.6),
    ("purchase100", "record_mlp", "defended"): (92.2, 76.5, 51.6),
    ("texas100", "record_mlp", "baseline"): (81.6, 51.9, 63.0),
    ("texas100", "record_mlp", "defended"): (55.0, 47.5, 51.0),
    ("cifar100", "alexnet", "baseline"): (99, 44.7, 53.2),
    ("cifar100", "alexnet", "defended"): (66.3, 43.6, 50.7),
    ("cifar100", "densenet", "baseline"): (100, 70.6, 54.5),
    ("cifar100", "densenet", "defended"): (80.3, 67.6, 51.0),
}
TABLE_6: dict[float, Row] = {
    0: (100, 80.1, 67.6),
    0.001: (86, 81.3, 60.0),
    0.005: (74, 70.2, 56.0),
    0.01: (34, 32.1, 50.6),
}
TABLE_7: dict[float, Row] = {  # by the reference set's size over the members'
    0.05: (None, 80.0, 59.2),
    0.25: (None, 77.4, 52.8),
    0.5: (None, 76.8, 52.4),
    1.0: (None, 76.5, 51.6),
    1.5: (None, 76.4, 50.6),
}


def points(results: raysweep.Results) -> pd.DataFrame:
    """Return one row a data set, model and setting: means over seeds, %."""
    table = comparison.measured(results)
    table[ATTACK] = (1 + table["advantage_inference_model"]) / 2
    table[FIGURES] *= 100
    share = table["reference_size"].clip(upper=table["n_reference"]) / table["n_members"]
    table = table.assign(reference_share=share)
    by = ["dataset", "model", "scenario", "l2", "adversarial_regularisation", "reference_share"]
    return comparison.summary(table, by, FIGURES)


def cells(row: pd.Series[float], published: Row) -> dict[str, str]:
    """Return a row of a table, each figure beside the published one."""
    return {
        name: beside(row[name], value, row[f"{name}_pm"])
        for name, value in zip(FIGURES, published, strict=True)
    }


def main() -> None:
    """Print Tables 4, 6 and 7 as far as the records go; write points.csv and a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="results folder of an adversarial_regularisation space")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    arguments = parser.parse_args()
    results = raysweep.load(arguments.results)
    found = points(results)
    first = results.trials.iloc[0]
    synthetic = str(first["dataset"]).startswith("synthetic")
    note = " (SYNTHETIC, beside the published Purchase100)" if synthetic else ""
    print(
        f"{first['dataset']}{note}, "
        f"{int(first['n_members']):,} members, {results.trials['seed'].nunique()} seeds; "
        "ours | published | difference"
    )
    plain = found[(found["adversarial_regularisation"] == 0) & (found["l2"] == 0)]
    defended = found[found["adversarial_regularisation"] > 0]
    name = "purchase100" if synthetic else str(first["dataset"])
    rows = []
    for label, group in (("baseline", plain), ("defended", defended)):
        for _, row in group[group["scenario"].isin(["baseline", "defended"])].iterrows():
            theirs = TABLE_4.get((name, row["model"], label), (None, None, None))
            weight = row["adversarial_regularisation"]
            rows.append({"Table 4": label, "lambda": weight, **cells(row, theirs)})
    print(pd.DataFrame(rows).to_string(index=False))
    for title, key, table, group in (
        ("Table 6: L2", "l2", TABLE_6, found[found["adversarial_regularisation"] == 0]),
        ("Table 7: reference / members", "reference_share", TABLE_7, defended),
    ):
        if name == "purchase100" and group[key].nunique() > 1:
            rows = [
                {title: row[key], **cells(row, table.get(round(row[key], 4), (None,) * 3))}
                for _, row in group.sort_values(key).iterrows()
            ]
            print(f"\n{pd.DataFrame(rows).to_string(index=False)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    found.to_csv(arguments.out / "points.csv", index=False)
    figure = figures.lines(found, "accuracy", ATTACK, "scenario", title="Accuracy and attack")
    path = figures.save(figure, arguments.out / "adversarial_regularisation.png")
    print(f"\nFigure: {path}, table: {arguments.out / 'points.csv'}")


if __name__ == "__main__":
    main()
