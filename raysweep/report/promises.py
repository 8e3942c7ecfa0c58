"""What the epsilons of a front promise, and what they leave out, as sentences without markup."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raysweep.config.plain_text import counted
from raysweep.data import PER_RECORD
from raysweep.records.guarantee import NEIGHBOURS, group_line, neighbours_of
from raysweep.records.results import records
from raysweep.report.findings import most_common


def promises(front: pd.DataFrame, n_trials: int) -> list[str]:
    """Return sentences on the promises of a front's epsilons, and on their limits."""
    if front.empty:
        return []
    spent = front["epsilon"].astype(float)
    private = front[np.isfinite(spent.to_numpy())]
    rest = len(front) - len(private)
    sentences = []

    if len(private):
        low, high = private["epsilon"].min(), private["epsilon"].max()
        sentences.append(
            f"{_share_of(len(private), front)} trained with DP-SGD. Each such model by itself is "
            f"(epsilon, delta)-differentially private: epsilon spent {low:.3g} to {high:.3g} "
            f"(the table has each), delta {most_common(private['delta'])}, by the "
            f"{most_common(private['accountant']).upper()} accountant. "
            f"{' '.join(_relations(private))} An {PER_RECORD}."
        )
    if rest:
        sentences.append(
            f"{_share_of(rest, front)} trained without DP-SGD, which promises nothing: the "
            "numbers say what these attacks found, and a stronger attack may find more."
        )
    sentences.append(
        f"An epsilon is that of one run. Choosing among {counted(n_trials, 'trial')} by "
        "their results is not covered by any of them."
    )
    sentences.append(
        "These records are not covered either: accuracies, AUCs, scores and reconstructions come "
        "from the training examples themselves. The noise was drawn with the stored seed, so the "
        "promise holds only against those who do not know it. To ship a model, train it with noise "
        "that nobody can repeat: raysweep trial with --save FILE.safetensors --secure-noise."
    )
    return sentences


def _relations(private: pd.DataFrame) -> list[str]:
    """Return a sentence for each relation of neighbours, and one on groups if there are any."""
    rows = records(private)
    found = sorted({neighbours_of(row) or "" for row in rows})
    sentences = [f"Neighbouring data sets ({name}): {NEIGHBOURS[name]}." for name in found]
    return [*sentences, *group_line(rows)]


def _share_of(n: int, front: pd.DataFrame) -> str:
    """Return how many configurations on the front, with the verb that follows."""
    configurations = counted(len(front), "configuration")
    return f"{n} of the {configurations} on the front {'was' if n == 1 else 'were'}"
