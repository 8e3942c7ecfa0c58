"""Kaya et al. 2020, Table 6: each mechanism paired with distillation and with random cropping.

python analysis/papers/regularisers_table_6.py [RESULTS ...] [--out figures]

The paper pairs on CIFAR-100 with the settings of its Table 5; its rows 5 and 15 are T or c alone.
Its sweeps of E are printed below the table. All figures are changes relative to the baseline, %.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import panels
import paper
import regularisers as published
from comparison import compare

Settings = dict[str, float]
T: Settings = {"distillation_temperature": 50}
C: Settings = {"random_crop": 16}
Row = tuple[Settings, tuple[float, float, float]]  # settings; Adv Yeom, Adv Salem, accuracy
TABLE_6: dict[str, Row] = {
    "T": (T, (-68.6, -99.4, -4.2)),
    "T=100": ({"distillation_temperature": 100}, (-68.8, -100, -6.1)),
    "T, α": ({**T, "label_smoothing": 0.95}, (-68.5, -100, -2.5)),
    "T, σ": ({**T, "gaussian_noise": 0.01}, (-69.1, -100, -4.0)),
    "T, c": ({**T, **C}, (-93.1, -100, -10.1)),
    "T, p": ({**T, "dropout": 0.25}, (-72.1, -100, -6.2)),
    "T, q": ({**T, "spatial_dropout": 0.25}, (-89.8, -100, -10.0)),
    "T, λ": ({**T, "l2": 5e-4}, (-96.5, -100, -48.8)),
    "T, E": ({**T, "early_stopping": 15}, (-71.0, -100, -4.4)),
    "c": (C, (-79.8, -87.6, -4.4)),
    "c=20": ({"random_crop": 20}, (-86.9, -100, -5.9)),
    "c, α": ({**C, "label_smoothing": 0.95}, (-87.1, -100, -10.5)),
    "c, σ": ({**C, "gaussian_noise": 0.01}, (-82.3, -88.5, -5.3)),
    "c, p": ({**C, "dropout": 0.25}, (-85.0, -89.4, -10.3)),
    "c, q": ({**C, "spatial_dropout": 0.25}, (-96.0, -100, -31.4)),
    "c, λ": ({**C, "l2": 5e-4}, (-84.7, -88.1, -5.8)),
    "c, E": ({**C, "early_stopping": 15}, (-92.3, -95.3, -24.9)),
}
E_SWEEPS = {  # what accuracy each E costs with T = 50 and with c = 16
    20: (-3.0, -14.0),
    15: (-4.0, -25.0),
    10: (-6.0, -29.0),
    5: (-8.0, -46.0),
}
LABELS = {
    f"change_{published.YEOM}": "change of Adv Yeom, %",
    f"change_{published.SALEM}": "change of Adv Salem, %",
    "change_accuracy": "change of accuracy, %",
}


def pair_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each of TABLE_6: ours, and ``published_`` columns."""
    rows = []
    for name, (settings, theirs) in TABLE_6.items():
        ours: dict[str, Any] = {
            key: float("nan") for name in LABELS for key in (name, f"{name}_pm")
        }
        ours |= published.means_at([table], settings, list(LABELS))
        stars = {f"published_{key}": value for key, value in zip(LABELS, theirs, strict=True)}
        rows.append({"mechanisms": name, **ours, **stars})
    return pd.DataFrame(rows)


def early_stopping_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the change of accuracy by E, beside T = 50 and c = 16."""
    rows = []
    for epoch, theirs in E_SWEEPS.items():
        row = {"E": str(epoch)}
        for label, alone, value in zip(("T = 50", "c = 16"), (T, C), theirs, strict=True):
            settings = {**alone, "early_stopping": epoch}
            means = published.means_at([table], settings, ["change_accuracy"])
            ours, pm = (means.get(f"change_accuracy{x}", float("nan")) for x in ("", "_pm"))
            row[label] = compare(ours, value, pm, " %")
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print Table 6 and the sweeps of E; draw the table."""
    (results,), out = paper.open_results(__doc__, published.SMALL_PAIRS)
    table = published.add_paper_changes(results)
    means = pair_table(table)

    print(paper.scale_line(results))
    print(f"CIFAR-100, as published: {published.not_run_message('pairs_cifar100')}")
    text = pd.DataFrame({"mechanisms": means["mechanisms"]})
    for name, label in LABELS.items():
        cells = zip(means[name], means[f"published_{name}"], means[f"{name}_pm"], strict=True)
        text[label] = [compare(ours, value, pm, " %") for ours, value, pm in cells]
    paper.print_table(text, "Table 6: ours | published | difference")
    title = "Change of accuracy by early stopping: ours | published | difference"
    paper.print_table(early_stopping_table(table), title)
    stars = means[["mechanisms"]].join(means[[f"published_{name}" for name in LABELS]])

    figure = panels.dots(
        means.dropna(subset=list(LABELS)),
        "mechanisms",
        LABELS,
        published=stars.rename(columns=lambda name: name.removeprefix("published_")),
        title="Pairs of mechanisms (ours: Fashion-MNIST; stars: published, CIFAR-100)",
    )
    paper.save(out, "regularisers_table_6", means, figure)


if __name__ == "__main__":
    main()
