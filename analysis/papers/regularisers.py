"""Kaya et al. 2020, Tables 2 to 8: what each mechanism costs and what it takes from the attacks.

python analysis/papers/regularisers.py results/regularisers_fashion_mnist [--out figures]

Works on any of the spaces search_spaces/papers/regularisers_*.yaml. Each cell is ours | published |
difference; ours is the mean over seeds with its 95 % interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import raysweep
from raysweep import comparison, figures
from raysweep.comparison import beside

SETTINGS = {
    "distillation": "distillation_temperature",
    "label_smoothing": "label_smoothing",
    "gaussian_noise": "gaussian_noise",
    "random_crop": "random_crop",
    "dropout": "dropout",
    "spatial_dropout": "spatial_dropout",
    "weight_decay": "l2",
    "early_stopping": "early_stopping",
    "dp": "noise_multiplier",
}
BASELINE = {  # Table 2: accuracy, Adv Yeom, Adv Salem, %; Table 7: DtC gap, %
    "fashion_mnist": (92.6, 9.6, 8.3, 46.1),
    "cifar10": (81.9, 35.8, 18.5, 54.5),
    "cifar100": (57.3, 68.9, 49.9, 86.2),
}
# Tables 3 - 5: setting, then the change of accuracy, Adv Yeom and Adv Salem, %, by scenario
Cells = dict[str, tuple[str, float, float, float]]
PUBLISHED: dict[tuple[str, str], Cells] = {
    ("fashion_mnist", "Max"): {
        "distillation": ("T=2", 0.1, -33.3, -9.6),
        "label_smoothing": ("α=.01", 0.2, -8.3, 34.9),
        "gaussian_noise": ("σ=.025", -0.9, -66.7, -73.5),
        "random_crop": ("c=1", -0.1, -81.3, -81.9),
        "dropout": ("p=.5", 0.2, -55.2, -73.5),
        "spatial_dropout": ("q=.25", 0.2, -52.1, -100),
        "weight_decay": ("λ=1e-4", 0.1, -1.0, 9.6),
        "early_stopping": ("E=20", 0.1, -28.1, -19.3),
    },
    ("fashion_mnist", "RAD < 5 %"): {
        "distillation": ("T=50", -2.9, -94.8, -100),
        "label_smoothing": ("α=.9", -1.5, -63.5, -100),
        "gaussian_noise": ("σ=.2", -4.1, -81.3, -100),
        "random_crop": ("c=4", -3.0, -90.7, -100),
        "dropout": ("p=.95", -2.5, -85.4, -100),
        "spatial_dropout": ("q=.75", -2.6, -87.5, -100),
        "weight_decay": ("λ=.01", -1.5, -72.9, -97.6),
        "early_stopping": ("E=1", -4.9, -80.2, -96.4),
        "dp": ("σ=.1", -4.1, -82.3, -100),
    },
    ("fashion_mnist", "RAD < 15 %"): {
        "distillation": ("T=50", -2.9, -94.8, -100),
        "label_smoothing": ("α=.99", -10.8, -95.8, -100),
        "gaussian_noise": ("σ=.225", -6.7, -84.4, -100),
        "random_crop": ("c=18", -9.9, -100, -100),
        "dropout": ("p=.95", -2.5, -85.4, -100),
        "spatial_dropout": ("q=.95", -11.0, -89.6, -100),
        "weight_decay": ("λ=.1", -9.1, -93.8, -100),
        "early_stopping": ("E=1", -4.9, -80.2, -96.4),
        "dp": ("σ=.25", -5.4, -90.1, -100),
    },
    ("cifar10", "Max"): {
        "distillation": ("T=5", 1.3, -50.3, 13.5),
        "label_smoothing": ("α=.01", 1.2, -31.0, 33.5),
        "gaussian_noise": ("σ=.01", -1.0, -0.1, 9.2),
        "random_crop": ("c=2", 3.5, -48.6, -31.9),
        "dropout": ("p=.25", -1.9, -8.7, 3.2),
        "spatial_dropout": ("q=.1", 0.6, -20.4, 23.2),
        "weight_decay": ("λ=5e-4", 1.0, -17.0, 35.7),
        "early_stopping": ("E=30", 0.0, 0.0, 0.0),
    },
    ("cifar10", "RAD < 5 %"): {
        "distillation": ("T=25", -2.4, -78.2, -100),
        "label_smoothing": ("α=.01", 1.2, -31.0, 33.5),
        "gaussian_noise": ("σ=.025", -4.2, -21.5, -18.4),
        "random_crop": ("c=22", -3.7, -92.7, -72.8),
        "dropout": ("p=.5", -3.4, -28.2, -16.8),
        "spatial_dropout": ("q=.25", -0.6, -59.5, -36.2),
        "weight_decay": ("λ=5e-4", 1.0, -17.0, 35.7),
        "early_stopping": ("E=20", -3.4, -25.4, -21.1),
    },
    ("cifar10", "RAD < 15 %"): {
        "distillation": ("T=50", -8.2, -84.7, -100),
        "label_smoothing": ("α=.99", -10.1, -46.1, -100),
        "gaussian_noise": ("σ=.05", -11.1, -44.9, -42.2),
        "random_crop": ("c=24", -7.7, -93.8, -78.4),
        "dropout": ("p=.95", -9.3, -63.4, -42.2),
        "spatial_dropout": ("q=.5", -12.9, -92.2, -89.2),
        "weight_decay": ("λ=.1", -13.3, -81.3, -92.4),
        "early_stopping": ("E=2", -13.9, -84.1, -72.4),
    },
    ("cifar100", "Max"): {
        "distillation": ("T=3", 3.1, -38.3, 23.8),
        "label_smoothing": ("α=.5", 5.9, -32.2, 58.7),
        "gaussian_noise": ("σ=.01", 0.2, -2.9, -4.4),
        "random_crop": ("c=2", 3.3, -24.7, -19.8),
        "dropout": ("p=.1", -0.9, -0.2, -8.4),
        "spatial_dropout": ("q=.05", -1.9, -10.6, -10.4),
        "weight_decay": ("λ=1e-5", 1.2, 1.0, -6.8),
        "early_stopping": ("E=30", 0.0, 0.0, 0.0),
    },
    ("cifar100", "RAD < 5 %"): {
        "distillation": ("T=50", -4.2, -68.6, -99.4),
        "label_smoothing": ("α=.95", 5.6, -36.4, 23.4),
        "gaussian_noise": ("σ=.01", 0.2, -2.9, -4.4),
        "random_crop": ("c=16", -4.4, -79.8, -87.6),
        "dropout": ("p=.25", -1.4, -7.8, -9.4),
        "spatial_dropout": ("q=.25", -2.0, -52.9, -53.1),
        "weight_decay": ("λ=5e-4", -2.4, -18.9, 26.6),
        "early_stopping": ("E=15", -1.1, -7.7, -1.4),
    },
    ("cifar100", "RAD < 15 %"): {
        "distillation": ("T=100", -6.1, -68.8, -100),
        "label_smoothing": ("α=.95", 5.6, -36.4, 23.4),
        "gaussian_noise": ("σ=.025", -6.5, -16.7, -16.0),
        "random_crop": ("c=20", -5.9, -86.9, -100),
        "dropout": ("p=.5", -5.9, -17.1, -15.2),
        "spatial_dropout": ("q=.25", -2.0, -52.9, -53.1),
        "weight_decay": ("λ=5e-4", -2.4, -18.9, 26.6),
        "early_stopping": ("E=10", -10.3, -33.1, -31.9),
    },
}
DISTANCES = {  # Table 8, RAD < 15 %: mean C x 1000 on D and on S, gap %
    "fashion_mnist": {
        "distillation": (20.4, 19.0, 6.9),
        "label_smoothing": (56.9, 56.4, 0.9),
        "gaussian_noise": (10.6, 9.3, 12.3),
        "random_crop": (19.9, 18.9, 5.0),
        "dropout": (44.2, 41.5, 6.1),
        "spatial_dropout": (67.5, 65.3, 3.3),
        "weight_decay": (54.2, 53.8, 1.1),
        "early_stopping": (37.3, 34.9, 6.4),
    },
}
YEOM, SALEM, GAP = "advantage_loss", "advantage_supervised", "distance_gap_dtc"
CHANGES = ["change_accuracy", f"change_{YEOM}", f"change_{SALEM}"]


def points(results: raysweep.Results) -> pd.DataFrame:
    """Return one row a mechanism and setting: means over seeds, changes in %."""
    table = comparison.measured(results)
    table = comparison.against_baseline(table, ["accuracy", YEOM, SALEM])
    table = table[table["scenario"].isin(SETTINGS)]
    setting = [row[SETTINGS[row["scenario"]]] for _, row in table.iterrows()]
    table = table.assign(setting=setting)
    table[CHANGES] *= 100
    figures_ = [*CHANGES, GAP, "distance_nonmembers_dtc", "distance_members_dtc"]
    found = [name for name in figures_ if name in table]
    return comparison.summary(table, ["dataset", "scenario", "setting"], found)


def table_of(found: pd.DataFrame, dataset: str, limit: str) -> pd.DataFrame:
    """Return Max, RAD < 5 % or RAD < 15 % of Tables 3 - 5, one row a mechanism."""
    own = found[found["dataset"] == dataset]
    if limit == "Max":
        best = own.loc[own.groupby("scenario", sort=False)["change_accuracy"].idxmax()]
    else:
        drop = float(limit.split()[2])
        best = comparison.within(own, "scenario", CHANGES[1], drop)
    rows = []
    published = PUBLISHED.get((dataset, limit), {})
    for scenario in dict.fromkeys([*best["scenario"], *published]):
        theirs = published.get(scenario, ("-", None, None, None))
        mine = best[best["scenario"] == scenario]
        row = {"mechanism": scenario, "theirs": theirs[0]}
        row["ours"] = f"{mine['setting'].iloc[0]:g}" if len(mine) else "none fits"
        for label, name, value in zip(
            ("accuracy", "Yeom", "Salem"), CHANGES, theirs[1:], strict=True
        ):
            ours = float(mine[name].iloc[0]) if len(mine) else float("nan")
            pm = float(mine[f"{name}_pm"].iloc[0]) if len(mine) else float("nan")
            row[label] = beside(ours, value, pm, " %")
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print Tables 2 - 8 as far as the records go; write points.csv and regularisers.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "results", nargs="+", help="results folders of search_spaces/papers/regularisers_*"
    )
    parser.add_argument("--out", type=Path, default=Path("figures"))
    arguments = parser.parse_args()
    for folder in arguments.results:
        results = raysweep.load(folder)
        table, found = comparison.measured(results), points(results)
        for dataset, group in table.groupby("dataset"):
            first = group.iloc[0]
            scale = f"{int(first['n_members']):,} members, {group['seed'].nunique()} seeds"
            print(f"\n{dataset} ({scale}); ours | published | difference")
            own = group[comparison.is_neutral(group)]
            named = zip(
                ("accuracy", YEOM, SALEM, GAP), BASELINE.get(str(dataset), (None,) * 4), strict=True
            )
            for name, value in named:
                if name in own:
                    mean, pm, _ = comparison.mean_interval(100 * own[name])
                    print(f"  baseline {name}: {beside(mean, value, pm, ' %')}")
            for limit in ("Max", "RAD < 5 %", "RAD < 15 %"):
                print(f"\n{limit}: relative changes")
                print(table_of(found, str(dataset), limit).to_string(index=False))
            _print_distances(found, str(dataset))
        arguments.out.mkdir(parents=True, exist_ok=True)
        found.to_csv(arguments.out / "points.csv", index=False)
        figure = figures.lines(
            found, "change_accuracy", CHANGES[1], "scenario", title="Cost and effect"
        )
        path = figures.save(figure, arguments.out / "regularisers.png")
        print(f"\nFigure: {path}, table: {arguments.out / 'points.csv'}")


def _print_distances(found: pd.DataFrame, dataset: str) -> None:
    if GAP not in found:
        return
    print("\nDistance to confident x 1000 (RAD < 15 %): D, S, gap")
    own = comparison.within(found[found["dataset"] == dataset], "scenario", CHANGES[1], 15)
    for _, row in own.iterrows():
        theirs = DISTANCES.get(dataset, {}).get(row["scenario"], (None, None, None))
        cells = (
            1000 * row["distance_nonmembers_dtc"],
            1000 * row["distance_members_dtc"],
            100 * row[GAP],
        )
        told = "; ".join(beside(float(x), y) for x, y in zip(cells, theirs, strict=True))
        print(f"  {row['scenario']} {row['setting']:g}: {told}")


if __name__ == "__main__":
    main()
