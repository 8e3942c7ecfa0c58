"""Settings and figures that the tables of Nasr et al. 2018 share, ours beside the published.

The attack is a fresh inference model; its accuracy is (1 + advantage) / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comparison
import pandas as pd
from comparison import compare

from raysweep.records.results import Results

STORE = "adversarial_regularisation_small"
FIGURES = {
    "train_accuracy": "accuracy (members), %",
    "accuracy": "accuracy (validation), %",
    "attack_accuracy": "attack accuracy, % (50 = a guess)",
}
Row = tuple[float | None, float | None, float | None]  # in the order of FIGURES, %
SETTING = ["dataset", "model", "l2", "adversarial_regularisation", "reference_share"]
UNKNOWN: Row = (None, None, None)


def attack_table(results: Results) -> pd.DataFrame:
    """Return the finished trials with FIGURES in % and ``reference_share``, of the members."""
    table = comparison.trial_table(results)
    table["attack_accuracy"] = (1 + table["advantage_inference_model"]) / 2
    table[list(FIGURES)] *= 100
    drawn = table["reference_size"].clip(upper=table["n_reference"])
    share = (drawn / table["n_members"]).where(table["adversarial_regularisation"] > 0, 0.0)
    return table.assign(reference_share=share)


def setting_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a setting: means over seeds, %."""
    return comparison.summary(table, SETTING, list(FIGURES))


def paired_differences(table: pd.DataFrame, decay: float = 0.0) -> pd.DataFrame:
    """Return one row a setting: its mean difference to L2 ``decay`` alone, same seed, points.

    At 0 that is the undefended baseline.
    """
    pair = ["dataset", "model", "seed"]
    plain = table[(table["l2"] == decay) & (table["adversarial_regularisation"] == 0)]
    plain = plain.drop_duplicates(pair)
    both = table.merge(plain[[*pair, *FIGURES]], on=pair, suffixes=("", "_plain"))
    for name in FIGURES:
        both[name] -= both[f"{name}_plain"]
    return comparison.summary(both, SETTING, list(FIGURES))


def data_note(means: pd.DataFrame) -> str:
    """Return a note for titles: empty for real records."""
    generated = means["dataset"].str.startswith("synthetic").any()
    return " (SYNTHETIC records)" if generated else ""


def right_or_wrong_accuracy(train: float, validation: float) -> float:
    """Return the accuracy, %, of calling an example a member when it is classified right.

    An attack that has the label need not be weaker (Yeom et al. 2018); ``train`` and ``validation``
    are accuracies in %.
    """
    return 50 + (train - validation) / 2


def table_cells(row: Mapping[Any, Any], published: Row) -> dict[str, str]:
    """Return a row of a table, each figure beside the published one."""
    return {
        label.split(",")[0]: compare(row[name], value, row[f"{name}_pm"])
        for (name, label), value in zip(FIGURES.items(), published, strict=True)
    }
