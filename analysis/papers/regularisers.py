"""Published figures of Kaya et al. 2020, and our records in the same units.

Figures are in %, changes relative to the baseline; the distances of Tables 7 and 8 are x 1000.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import comparison
import pandas as pd
import paper

from raysweep import defences
from raysweep.records.results import Results

SMALL = "regularisers_fashion_mnist_small"
SMALL_VGG4 = "regularisers_vgg4_small"
FULL_VGG4 = "regularisers_vgg4_full"
SMALL_TABLE_8 = "regularisers_table_8_small"
LARGE_TABLE_8 = "regularisers_table_8_4000"
SMALL_PAIRS = "regularisers_pairs_fashion_mnist_small"
YEOM, SALEM = "advantage_loss", "advantage_supervised"
MEMBERS, NONMEMBERS, GAP = "distance_members_dtc", "distance_nonmembers_dtc", "distance_gap_dtc"
MEASURES = {"accuracy": "accuracy", YEOM: "Adv Yeom", SALEM: "Adv Salem"}
SALEM_POINTS = "points_auc_supervised"
PLACE = ["dataset", "model"]
CHANGES = [f"change_{name}" for name in MEASURES]

SETTINGS = {
    "distillation": ("distillation_temperature", "T"),
    "label_smoothing": ("label_smoothing", "α"),
    "gaussian_noise": ("gaussian_noise", "σ"),
    "random_crop": ("random_crop", "c"),
    "dropout": ("dropout", "p"),
    "spatial_dropout": ("spatial_dropout", "q"),
    "weight_decay": ("l2", "λ"),
    "early_stopping": ("early_stopping", "E"),
    "dp": ("noise_multiplier", "σ of DP"),
}
"""Mechanism -> its column in the records, and its letter in the paper."""

TASKS = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

BASELINE = {  # Table 2: accuracy, Adv Yeom, Adv Salem; Table 7: mean distance of D and S, gap
    "fashion_mnist": (92.6, 9.6, 8.3, 5.2, 2.8, 46.1),
    "cifar10": (81.9, 35.8, 18.5, 2.2, 1.0, 54.5),
    "cifar100": (57.3, 68.9, 49.9, 8.0, 1.1, 86.2),
}

LIMITS = {"Max": None, "RAD < 5 %": 5.0, "RAD < 15 %": 15.0}
Cell = tuple[float, float, float, float]  # setting, change of accuracy, Adv Yeom, Adv Salem
TABLES_3_TO_5: dict[str, dict[str, tuple[Cell, Cell, Cell]]] = {  # in the order of LIMITS
    "fashion_mnist": {
        "distillation": ((2, 0.1, -33.3, -9.6), (50, -2.9, -94.8, -100), (50, -2.9, -94.8, -100)),
        "label_smoothing": (
            (0.01, 0.2, -8.3, 34.9),
            (0.9, -1.5, -63.5, -100),
            (0.99, -10.8, -95.8, -100),
        ),
        "gaussian_noise": (
            (0.025, -0.9, -66.7, -73.5),
            (0.2, -4.1, -81.3, -100),
            (0.225, -6.7, -84.4, -100),
        ),
        "random_crop": ((1, -0.1, -81.3, -81.9), (4, -3.0, -90.7, -100), (18, -9.9, -100, -100)),
        "dropout": ((0.5, 0.2, -55.2, -73.5), (0.95, -2.5, -85.4, -100), (0.95, -2.5, -85.4, -100)),
        "spatial_dropout": (
            (0.25, 0.2, -52.1, -100),
            (0.75, -2.6, -87.5, -100),
            (0.95, -11.0, -89.6, -100),
        ),
        "weight_decay": (
            (1e-4, 0.1, -1.0, 9.6),
            (0.01, -1.5, -72.9, -97.6),
            (0.1, -9.1, -93.8, -100),
        ),
        "early_stopping": (
            (20, 0.1, -28.1, -19.3),
            (1, -4.9, -80.2, -96.4),
            (1, -4.9, -80.2, -96.4),
        ),
    },
    "cifar10": {
        "distillation": ((5, 1.3, -50.3, 13.5), (25, -2.4, -78.2, -100), (50, -8.2, -84.7, -100)),
        "label_smoothing": (
            (0.01, 1.2, -31.0, 33.5),
            (0.01, 1.2, -31.0, 33.5),
            (0.99, -10.1, -46.1, -100),
        ),
        "gaussian_noise": (
            (0.01, -1.0, -0.1, 9.2),
            (0.025, -4.2, -21.5, -18.4),
            (0.05, -11.1, -44.9, -42.2),
        ),
        "random_crop": (
            (2, 3.5, -48.6, -31.9),
            (22, -3.7, -92.7, -72.8),
            (24, -7.7, -93.8, -78.4),
        ),
        "dropout": ((0.25, -1.9, -8.7, 3.2), (0.5, -3.4, -28.2, -16.8), (0.95, -9.3, -63.4, -42.2)),
        "spatial_dropout": (
            (0.1, 0.6, -20.4, 23.2),
            (0.25, -0.6, -59.5, -36.2),
            (0.5, -12.9, -92.2, -89.2),
        ),
        "weight_decay": (
            (5e-4, 1.0, -17.0, 35.7),
            (5e-4, 1.0, -17.0, 35.7),
            (0.1, -13.3, -81.3, -92.4),
        ),
        "early_stopping": ((30, 0.0, 0.0, 0.0), (20, -3.4, -25.4, -21.1), (2, -13.9, -84.1, -72.4)),
    },
    "cifar100": {
        "distillation": (
            (3, 3.1, -38.3, 23.8),
            (50, -4.2, -68.6, -99.4),
            (100, -6.1, -68.8, -100),
        ),
        "label_smoothing": (
            (0.5, 5.9, -32.2, 58.7),
            (0.95, 5.6, -36.4, 23.4),
            (0.95, 5.6, -36.4, 23.4),
        ),
        "gaussian_noise": (
            (0.01, 0.2, -2.9, -4.4),
            (0.01, 0.2, -2.9, -4.4),
            (0.025, -6.5, -16.7, -16.0),
        ),
        "random_crop": (
            (2, 3.3, -24.7, -19.8),
            (16, -4.4, -79.8, -87.6),
            (20, -5.9, -86.9, -100),
        ),
        "dropout": ((0.1, -0.9, -0.2, -8.4), (0.25, -1.4, -7.8, -9.4), (0.5, -5.9, -17.1, -15.2)),
        "spatial_dropout": (
            (0.05, -1.9, -10.6, -10.4),
            (0.25, -2.0, -52.9, -53.1),
            (0.25, -2.0, -52.9, -53.1),
        ),
        "weight_decay": (
            (1e-5, 1.2, 1.0, -6.8),
            (5e-4, -2.4, -18.9, 26.6),
            (5e-4, -2.4, -18.9, 26.6),
        ),
        "early_stopping": ((30, 0.0, 0.0, 0.0), (15, -1.1, -7.7, -1.4), (10, -10.3, -33.1, -31.9)),
    },
}

TABLE_8 = {  # RAD < 15 %: mean distance of D and of S, gap, Adv Yeom
    "fashion_mnist": {
        "distillation": (20.4, 19.0, 6.9, 0.5),
        "label_smoothing": (56.9, 56.4, 0.9, 0.4),
        "gaussian_noise": (10.6, 9.3, 12.3, 1.2),
        "random_crop": (19.9, 18.9, 5.0, 0.0),
        "dropout": (44.2, 41.5, 6.1, 1.4),
        "spatial_dropout": (67.5, 65.3, 3.3, 1.0),
        "weight_decay": (54.2, 53.8, 1.1, 0.6),
        "early_stopping": (37.3, 34.9, 6.4, 1.9),
    },
    "cifar10": {
        "distillation": (4.5, 3.5, 22.2, 5.4),
        "label_smoothing": (4.3, 2.7, 37.2, 19.3),
        "gaussian_noise": (3.6, 1.6, 55.6, 19.7),
        "random_crop": (3.9, 3.7, 3.9, 2.2),
        "dropout": (20.6, 18.6, 9.7, 13.1),
        "spatial_dropout": (10.2, 9.1, 10.8, 2.8),
        "weight_decay": (4.5, 3.6, 20.0, 6.7),
        "early_stopping": (6.4, 5.4, 15.6, 5.7),
    },
    "cifar100": {
        "distillation": (6.7, 2.4, 64.2, 21.6),
        "label_smoothing": (13.3, 1.9, 85.7, 43.8),
        "gaussian_noise": (7.3, 1.3, 82.2, 57.4),
        "random_crop": (5.2, 4.2, 19.2, 9.0),
        "dropout": (5.5, 1.2, 78.2, 57.1),
        "spatial_dropout": (13.7, 5.5, 59.8, 32.4),
        "weight_decay": (8.0, 1.1, 86.2, 55.9),
        "early_stopping": (7.8, 2.3, 70.5, 46.1),
    },
}


def baseline_means(results: Results) -> pd.DataFrame:
    """Return the baseline's means over seeds, a row for each data set and model."""
    table = percent_table(results)
    neutral = table[comparison.is_neutral(table)]
    return comparison.summary(neutral, PLACE, [*MEASURES, NONMEMBERS, MEMBERS, GAP])


def setting_means(results: Results) -> pd.DataFrame:
    """Return means over seeds: a row for each data set, model, mechanism and setting."""
    table = add_paper_changes(results)
    table = table[table["scenario"].isin(SETTINGS)]
    setting = [row[SETTINGS[row["scenario"]][0]] for row in table.to_dict("records")]
    table = table.assign(setting=setting)
    by = [*PLACE, "scenario", "setting"]
    shown = [*CHANGES, *MEASURES, SALEM_POINTS, NONMEMBERS, MEMBERS, GAP]
    return comparison.summary(table, by, shown)


def add_paper_changes(results: Results) -> pd.DataFrame:
    """Return every finished trial in % and x 1000, with its changes against its baseline."""
    table = percent_table(results)
    base = table[comparison.is_neutral(table)].drop_duplicates(comparison.PAIR)
    aucs = base.set_index(comparison.PAIR)["auc_supervised"]
    baseline_aucs = aucs.reindex(pd.MultiIndex.from_frame(table[comparison.PAIR])).to_numpy()
    table[SALEM_POINTS] = 100 * (table["auc_supervised"] - baseline_aucs)
    table = comparison.add_changes(table, list(MEASURES))
    table[CHANGES] *= 100
    return table


def means_at(
    tables: Sequence[pd.DataFrame], settings: Mapping[str, float], figures: Sequence[str]
) -> dict[str, Any]:
    """Return the means over seeds of the trials with exactly these defences; {} for none."""
    for table in tables:
        trials = table
        for key, neutral in defences.neutral().items():
            if key in table and comparison.is_strength(key):
                trials = trials[trials[key] == settings.get(key, neutral)]
        if len(trials):
            means = comparison.summary(trials, ["dataset"], figures)
            return {str(key): value for key, value in means.iloc[0].items()}
    return {}


def percent_table(results: Results) -> pd.DataFrame:
    """Return the finished trials, rates in % and distances x 1000; unmeasured figures are nan.

    A model's name includes the number of its members and its learning rate, because the tables
    show records of several scales.
    """
    table = comparison.trial_table(results)
    members = table["n_members"].map("{:,.0f}".format)
    rate = results.documents[0]["training"]["learning_rate"]
    table = table.assign(model=table["model"] + ", " + members + f" at {rate:g}")
    for column, unit in {
        **dict.fromkeys([*MEASURES, GAP], 100),
        MEMBERS: 1000,
        NONMEMBERS: 1000,
    }.items():
        table[column] = unit * table[column] if column in table else float("nan")
    return table


def best_settings(means: pd.DataFrame, limit: str) -> pd.DataFrame:
    """Return for each mechanism the row that a column of Tables 3 - 5 shows.

    Max: the highest accuracy; RAD: the lowest Adv Yeom within the limit. A mechanism that costs
    more at each of its settings has no row.
    """
    drop = LIMITS[limit]
    if drop is None:
        return means.loc[means.groupby("scenario", sort=False)["change_accuracy"].idxmax()]
    return comparison.best_within(means, "scenario", f"change_{YEOM}", drop)


def setting_text(scenario: str, setting: float) -> str:
    """Return a mechanism's letter and setting, as the paper writes it.

    >>> setting_text("distillation", 50.0), setting_text("weight_decay", 1e-4)
    ('T=50', 'λ=0.0001')
    """
    return f"{SETTINGS[scenario][1]}={setting:g}"


def setting_or_reason(means: pd.DataFrame, best: pd.DataFrame, scenario: str) -> str:
    """Return the setting of a mechanism in a column, or the reason why there is none."""
    if scenario not in means["scenario"].to_numpy():
        return "not run"
    row = best[best["scenario"] == scenario]
    return setting_text(scenario, float(row["setting"].iloc[0])) if len(row) else "none fits"


def split_by_network(means: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield each data set and model with its rows."""
    for (dataset, model), rows in means.groupby(PLACE, sort=False):
        yield str(dataset), str(model), rows


def sort_settings(means: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the paper's order of mechanisms and by setting, with a label each."""
    place = means["scenario"].map(list(SETTINGS).index)
    means = means.assign(place=place).sort_values(["place", "setting"], kind="stable")
    return means.assign(row=setting_labels(means)).drop(columns="place")


def setting_labels(means: pd.DataFrame) -> list[str]:
    """Return each row's mechanism and setting, such as label smoothing α=0.1."""
    return [
        f"{scenario.replace('_', ' ')} {setting_text(scenario, setting)}"
        for scenario, setting in zip(means["scenario"], means["setting"], strict=True)
    ]


def not_run_message(dataset: str) -> str:
    """Return the text for a data set that was not run."""
    return paper.not_run_message(f"regularisers_{dataset}")
