"""Giammarresi 2021: which of the thesis' claims hold in our records, with intervals.

python analysis/papers/thesis_claims.py [RESULTS ...] [--out figures]

Each claim is a change in %, paired by data set and seed, and what is claimed of it.
"""

from __future__ import annotations

from math import isnan

import comparison
import pandas as pd
import panels
import paper
import thesis

NOTICEABLE = 5.0
"""A change of so many % is what the thesis' "noticeably" and "significantly" are read as."""

Claim = tuple[str, str, str, str, str]  # in words; scenario, against which, measure; what of it
CLAIMS: list[Claim] = [
    ("DP costs accuracy (ε=2)", "dp_eps2", "baseline", "accuracy", "falls"),
    ("DP costs accuracy (ε=8)", "dp_eps8", "baseline", "accuracy", "falls"),
    ("DP costs training time (ε=2)", "dp_eps2", "baseline", "train_seconds", "rises"),
    ("DP: black-box inversion no harder (ε=2)", "dp_eps2", "baseline", "output", "does not rise"),
    ("DP: black-box inversion no harder (ε=8)", "dp_eps8", "baseline", "output", "does not rise"),
    ("DP worsens the flatten map (ε=8)", "dp_eps8", "baseline", "flatten", "falls"),
    ("DP worsens the dense map (ε=8)", "dp_eps8", "baseline", "dense", "falls"),
    ("DP worsens the output (ε=8)", "dp_eps8", "baseline", "output", "falls"),
    ("ε=2 protects better than ε=8 (output)", "dp_eps2", "dp_eps8", "output", "rises"),
    ("ε=2 protects better than ε=4 (output)", "dp_eps2", "dp_eps4", "output", "rises"),
    ("L2 keeps the accuracy", "l2", "baseline", "accuracy", "stays"),
    ("dropout keeps the accuracy", "dropout", "baseline", "accuracy", "stays"),
    ("L2 + dropout keeps the accuracy", "l2_dropout", "baseline", "accuracy", "stays"),
    ("L2 costs no time", "l2", "baseline", "train_seconds", "stays"),
    ("dropout costs no time", "dropout", "baseline", "train_seconds", "stays"),
    ("L2 + dropout costs no time", "l2_dropout", "baseline", "train_seconds", "stays"),
    ("L2 lowers the membership AUC", "l2", "baseline", "attack_auc", "falls"),
    ("dropout lowers the membership AUC", "dropout", "baseline", "attack_auc", "falls"),
    ("L2 + dropout lowers the membership AUC", "l2_dropout", "baseline", "attack_auc", "falls"),
    ("L2 protects the output", "l2", "baseline", "output", "rises"),
    ("dropout protects the layers between", "dropout", "baseline", "intermediate", "rises"),
    ("dropout does not protect the output", "dropout", "baseline", "output", "does not rise"),
    ("L2 + dropout protects the layers between", "l2_dropout", "baseline", "intermediate", "rises"),
    ("L2 + dropout protects the output", "l2_dropout", "baseline", "output", "rises"),
    ("L2 alone protects the output better than both", "l2", "l2_dropout", "output", "rises"),
    ("L2 alone: higher membership AUC than both", "l2", "l2_dropout", "attack_auc", "rises"),
]


def verdict(low: float, high: float, claimed: str) -> str:
    """Return whether an interval of changes bears a claim out.

    >>> verdict(2, 6, "rises"), verdict(-1, 6, "rises"), verdict(6, 9, "does not rise")
    ('holds', 'undecided', 'fails')
    """
    above, below = {
        "rises": (0.0, None),
        "falls": (None, 0.0),
        "does not rise": (None, NOTICEABLE),
        "stays": (-NOTICEABLE, NOTICEABLE),
    }[claimed]
    if isnan(low):
        return "undecided"
    if (above is None or low >= above) and (below is None or high <= below):
        return "holds"
    outside = (above is not None and high < above) or (below is not None and low > below)
    return "fails" if outside else "undecided"


def change(
    table: pd.DataFrame, scenario: str, against: str, measure: str
) -> tuple[float, float, int]:
    """Return a scenario's mean change in %, the half-width of its interval, and n; 0: not run."""
    if against not in table["scenario"].to_numpy():
        return float("nan"), float("nan"), 0
    found = thesis.changes(table, [measure], against=against)
    return comparison.mean_interval(found.loc[found["scenario"] == scenario, f"change_{measure}"])


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a claim: the change in %, its half-width, n, and the verdict."""
    rows = []
    for words, scenario, against, measure, claimed in CLAIMS:
        mean, half, n = change(table, scenario, against, measure)
        told = verdict(mean - half, mean + half, claimed) if n else "not run"
        rows.append(
            {"claim": words, "measure": measure, "published": claimed}
            | {"change": mean, "change_pm": half}
            | {"n": n, "verdict": told}
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print each claim and its verdict; write and draw them."""
    (results,), out = paper.opened(__doc__, thesis.SMALL)
    found = judged(thesis.measured(results))
    print(paper.scale(results))
    paper.told(found.round(2), "Claims as published, and our change in %")
    print("\n" + ", ".join(f"{k}: {v}" for k, v in found["verdict"].value_counts().items()))
    shown = found.dropna(subset="change")
    figure = panels.dots(
        shown.assign(claim=shown["claim"] + ": " + shown["published"]),
        "claim",
        {"change": "change, %"},
        hue="verdict",
        colours={"holds": "royalblue", "fails": "darkorange", "undecided": "grey"},
        title="What the thesis claims of each change, and what it was",
    )
    paper.written(out, "thesis_claims", found, figure)


if __name__ == "__main__":
    main()
