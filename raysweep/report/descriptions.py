"""Describe figures in words, for readers who cannot see them and as their alternative texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raysweep.config.plain_text import counted
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import is_objective, objective

GLOSSARY = {
    "member, nonmember": "an example that trained the model, and one that did not: a stranger.",
    "attack AUC": (
        "how often a membership attack that is shown one member and one stranger picks the member: "
        "0.5 is a guess, 1 is always."
    ),
    "inversion MSE": (
        "mean squared error of inputs (images, or records of a table) that an attack rebuilt, with "
        "values in [0, 1]. More is worse for the attacker."
    ),
    "epsilon": (
        "what DP-SGD promises: the smaller, the less the model can depend on one example. Without "
        "DP-SGD there is no promise."
    ),
    "front": (
        "the trials that no other trial beats: none is at least as good in every objective and "
        "better in one."
    ),
}
"""Word of the page -> its meaning, for readers who do not know it."""

MOST = 12  # values of a setting that are told one by one


def front(drawn: pd.DataFrame, x: str, y: str) -> str:
    """Return what a panel of the front shows: how many trials, the front's extent, the baseline."""
    chosen = drawn[drawn["on_front"]]
    text = (
        f"{_word(y)} against {_word(x)} of {counted(len(drawn), 'trial')}, "
        f"{len(chosen):,} of them on the front."
    )
    if len(chosen):
        text += f" On the front, {_range(chosen, x)} and {_range(chosen, y)}."
    base = drawn[drawn["number"] == BASELINE].head(1)
    for _, row in base.iterrows():
        text += f" Undefended: {_word(x)} {row[x]:.3g}, {_word(y)} {row[y]:.3g}."
    return _sentence(text)


def setting(drawn: pd.DataFrame, key: str, objectives: Sequence[str]) -> str:
    """Return the medians of the objectives at the values of a setting, or in halves of them."""
    values = drawn[key]
    is_numeric = pd.api.types.is_numeric_dtype(values)
    groups: pd.Series[Any] = values.map("{:.3g}".format) if is_numeric else values.astype(str)
    if is_numeric and values.nunique() > MOST // 2:
        finite = values[np.isfinite(values.astype(float))].astype(float)
        middle = finite.median()
        groups = values.map(
            lambda value: (
                "off"
                if not np.isfinite(value)
                else f"{middle:.3g} or less"
                if value <= middle
                else f"more than {middle:.3g}"
            )
        )
    parts = []
    for name, rows in list(drawn.groupby(groups, sort=True))[:MOST]:
        medians = ", ".join(f"{_word(o)} {rows[o].median():.3g}" for o in objectives)
        parts.append(f"at {name} ({counted(len(rows), 'trial')}) {medians}")
    return _sentence(f"medians by {key}: {'; '.join(parts)}.")


def rocs(
    curves: Mapping[str, tuple[Any, Any]],
    bands: Mapping[str, tuple[Any, Any, Any]],
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
) -> str:
    """Return the true-positive rate of each curve, with its ends, and of each bound at 10 % FPR."""
    rates = []
    for name, (x, y) in curves.items():
        at, *ends = bands[name]
        low, high = (np.interp(0.1, at, end) for end in ends)
        rates.append(f"{name} {np.interp(0.1, x, y):.0%} ({low:.0%} to {high:.0%})")
    most = [f"{name} {np.interp(0.1, x, y):.0%}" for name, (x, y) in (bounds or {}).items()]
    bound = f" No attacker finds more than: {', '.join(most)}." if most else ""
    return (
        f"Members found while 10 % of strangers are called members: {', '.join(rates)}. "
        f"A guess finds 10 %.{bound}"
    )


def layers(errors: pd.DataFrame, floors: Mapping[str, float]) -> str:
    """Return the reconstruction error of each trial at each layer, and the floors."""
    parts = [f"{row['trial']} {row['mse']:.3g} from {row['layer']}" for _, row in errors.iterrows()]
    without = ", ".join(f"{name} {value:.3g}" for name, value in floors.items())
    return f"Inversion MSE: {'; '.join(parts)}. Without a model: {without}."


def _word(name: str) -> str:
    return objective(name).label if is_objective(name) else name


def _range(rows: pd.DataFrame, name: str) -> str:
    low, high = rows[name].min(), rows[name].max()
    return f"{_word(name)} runs from {low:.3g} to {high:.3g}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
