"""Giammarresi 2021: which of the thesis' claims hold in our records, with intervals.

python analysis/papers/thesis_claims.py [RESULTS ...] [--out figures]

Each claim states how a change in %, paired by data set and seed, should turn out.
"""

from __future__ import annotations

from math import isnan

import comparison
import pandas as pd
import panels
import paper
import thesis

NOTICEABLE = 5.0
"""The change in % from which on a change counts as "noticeable" or "significant"."""

Claim = tuple[str, str, str, str, str]  # text; scenario, compared with, measure; claimed change
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
    """Return whether an interval of changes supports a claim.

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
    claims = thesis.changes(table, [measure], against=against)
    return comparison.mean_interval(claims.loc[claims["scenario"] == scenario, f"change_{measure}"])


def judge_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a claim: the change in %, its half-width, n, and the verdict."""
    rows = []
    for claim, scenario, against, measure, claimed in CLAIMS:
        mean, half, n = change(table, scenario, against, measure)
        outcome = verdict(mean - half, mean + half, claimed) if n else "not run"
        rows.append(
            {"claim": claim, "measure": measure, "published": claimed}
            | {"change": mean, "change_pm": half}
            | {"n": n, "verdict": outcome}
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print each claim and its verdict; write and draw them."""
    stores, out = paper.open_results(__doc__, thesis.SMALL, thesis.TIMES)
    claims = judge_claims(thesis.timed_table(stores))

    print(paper.scale_line(stores[0]))
    paper.print_table(claims.round(2), "Claims as published, and our change in %")
    print("\n" + ", ".join(f"{k}: {v}" for k, v in claims["verdict"].value_counts().items()))
    shown = claims.dropna(subset="change")

    figure = panels.dots(
        shown.assign(claim=shown["claim"] + ": " + shown["published"]),
        "claim",
        {"change": "change, %"},
        hue="verdict",
        colours={"holds": "royalblue", "fails": "darkorange", "undecided": "grey"},
        title="What the thesis claims of each change, and what it was",
    )
    paper.save(out, "thesis_claims", claims, figure)


if __name__ == "__main__":
    main()
