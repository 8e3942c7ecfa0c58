"""What an epsilon is for, in words: which data sets it compares, and whose records it covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

NEIGHBOURS = {
    "zero_out": (
        "one record replaced by nothing, with the number of members, the sampling rate, the steps "
        "and the divisor public and fixed"
    ),
    "add_remove": (
        "one record added or removed, with the sampling rate, the steps and the divisor constants "
        "of the configuration"
    ),
}
"""Value of the column ``neighbours`` -> the data sets that a training does not tell apart."""


def neighbours_of(row: Mapping[str, Any]) -> str | None:
    """Return the neighbours of a trial with DP-SGD, also of an older record; None without DP."""
    epsilon = row.get("epsilon")
    if epsilon is None or not isfinite(epsilon):
        return None
    return row.get("neighbours") or "zero_out"


def is_private_choice(document: Mapping[str, Any]) -> bool:
    """Return whether the number of trials of a space, as plain values, is drawn at random."""
    sampler = document.get("sampler")
    return isinstance(sampler, dict) and isinstance(sampler.get("trials"), dict)


CHOSEN = (
    "This epsilon is of the whole choice: the best of a number of trainings that was drawn from a "
    "{distribution} law of mean {mean:g} and told to nobody. It covers the configuration, the "
    "weights and the accuracy of the winner. To train the configuration again spends more."
)


def choice_line(document: Mapping[str, Any]) -> str:
    """Return what the epsilon of a private choice covers; empty for any other space."""
    return CHOSEN.format(**document["sampler"]["trials"]) if is_private_choice(document) else ""


def unit_of(row: Mapping[str, Any]) -> str:
    """Return whose records the epsilon of a row of ``trials`` covers."""
    records, epsilon = row.get("group_records"), row.get("epsilon_per_group")
    if not records or records == 1:
        return "one record"
    of_group = "no finite epsilon" if not _is_finite(epsilon) else f"epsilon {epsilon:.3g}"
    return f"one record; for one group of at most {records:,.0f} records {of_group}"


def guarantee_line(row: Mapping[str, Any]) -> str:
    """Return one line on what a trial's epsilon is for; empty without DP-SGD."""
    neighbours = neighbours_of(row)
    if neighbours is None:
        return ""
    return f"epsilon is for {unit_of(row)}; neighbours: {neighbours} ({NEIGHBOURS[neighbours]})"


def guarantee_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the epsilons of several trials are for: relations first, then groups."""
    of_one = [{**row, "group_records": None} for row in rows]
    return [*sorted({guarantee_line(row) for row in of_one} - {""}), *group_line(rows)]


def group_line(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence on the epsilons of whole groups, if a private trial has groups."""
    grouped = [row for row in rows if neighbours_of(row) and (row.get("group_records") or 1) > 1]
    if not grouped:
        return []
    most = int(max(row["group_records"] for row in grouped))
    ends = [float(row["epsilon_per_group"]) for row in grouped]
    low, high = (f"{end:.3g}" for end in (min(ends), max(ends)))
    spent = low if low == high else f"{low} to {high}"
    return [f"For all records of one group together, at most {most:,}, epsilon is {spent}."]


def _is_finite(value: float | None) -> bool:
    return value is not None and isfinite(value)
