"""What to know before one trusts the results, as sentences without markup."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from raysweep.config.plain_text import counted
from raysweep.config.training import PRIVATE_DEFAULTS
from raysweep.records.accuracy import judged_split
from raysweep.records.columns import BASELINE
from raysweep.records.conditions import Condition, joined
from raysweep.records.objectives import REQUIREMENTS, Objectives
from raysweep.records.results import records
from raysweep.report.comparison import ends_of, overlap
from raysweep.report.findings import leaks

FEW = 200  # nonmembers or validation examples, below which small differences mean nothing

MOST_REASONS = 5  # of failures, that are told one by one

MISSED = {
    "collapsed": "collapsed: predictions say nothing about the labels, nor do attacks",
    "inversion_converged": "had an inversion that did not converge, which is no privacy",
}
"""Column -> the statement about trials that miss its requirement for the front."""

_STATED = {key: value for key, value in asdict(PRIVATE_DEFAULTS).items() if value is not None}

DP_REMEDY = (
    f"let DP-SGD train with `training.private: "
    f"{{{', '.join(f'{key}: {value}' for key, value in _STATED.items())}}}`; if it does already, "
    "give it more epochs, more members or a larger target_epsilon"
)


def warnings(
    trials: pd.DataFrame, objectives: Objectives, *, everything: bool = False
) -> list[str]:
    """Return warnings to read before trusting the results, as sentences.

    ``trials`` are all trials, because a condition on what is shown must hide no warning.
    """
    collapse = collapsed_with_dp(trials)
    lines = [collapse] if collapse else []
    lines += _left_out(trials, objectives, everything=everything)
    lines += [*_failures(trials), *_few(trials), *_no_leak(trials)]
    for column, name in (("split_hash", "splits of the data"), ("versions", "sets of versions")):
        kinds = trials[column].nunique()
        if kinds > 1:
            lines.append(f"The trials come from {kinds} {name}: compare them with care.")
    return lines


def inversion_does_not_separate(front: pd.DataFrame) -> str:
    """Return a warning if the MSEs on the front differ by less than their intervals, else ""."""
    rows = [row for row in records(front) if row["inversion_mse"] is not None]
    intervals = [ends_of(row, "inversion_mse") for row in rows]
    pairs = itertools.combinations(intervals, 2)
    if len(rows) < 2 or None in intervals or not all(overlap(*pair) for pair in pairs):
        return ""
    low, high = front["inversion_mse"].min(), front["inversion_mse"].max()
    return (
        f"The inversion MSEs on the front, {low:.4f} to {high:.4f}, differ by less than their "
        "intervals: the MSE does not separate these trials, whatever place on the front it gave "
        "them."
    )


def empty_front(selected: pd.DataFrame, where: Sequence[Condition] = ()) -> str:
    """Return why no trial stands on the front, given the trials that meet the conditions."""
    if len(selected):
        reason = "all failed, were pruned, collapsed or did not converge"
        which = f"No trial with {joined(where)}" if where else "No trial"
        return f"{which} stands on the front: {reason}."
    reason = f"none meets {joined(where)}" if where else "none has ended"
    return f"No trial stands on the front: {reason}."


def collapsed_with_dp(trials: pd.DataFrame) -> str:
    """Return a warning with its remedy if every finished trial with DP-SGD collapsed, else "".

    ``trials`` needs the columns status, epsilon and collapsed.
    """
    spent = trials["epsilon"].to_numpy(dtype=float, na_value=np.nan)
    private = trials[(trials["status"] == "ok") & np.isfinite(spent)]
    if private.empty or not private["collapsed"].eq(True).all():
        return ""
    which = f"All {len(private):,} trials" if len(private) > 1 else "The only trial"
    return (
        f"{which} with DP-SGD collapsed. These settings learn nothing, which says nothing about "
        f"DP-SGD itself. Remedy: {DP_REMEDY}."
    )


def _left_out(trials: pd.DataFrame, objectives: Objectives, *, everything: bool) -> list[str]:
    """Return how many trials miss something, and how many are not on the front for it."""
    ok = trials["status"] == "ok"
    left_out = int((ok & ~objectives.eligible(trials, everything=everything)).sum())
    count = {
        **{
            text: ok & trials[column].eq(not REQUIREMENTS[column])
            for column, text in MISSED.items()
        },
        **{
            f"did not meet the constraint {condition}": ok & ~condition.fits(trials)
            for condition in objectives.constraints
        },
        "spent more epsilon than was asked": trials["epsilon"] > 1.01 * trials["target_epsilon"],
        "needed more than one attempt (a worker, its node or its memory failed)": (
            trials["attempts"] > 1
        ),
        "ended at a rung: pruned, never attacked in full": trials["status"] == "pruned",
    }
    lines = [
        f"{counted(int(hit.sum()), 'trial')} {text}." for text, hit in count.items() if hit.any()
    ]
    if left_out:
        which = counted(left_out, "finished trial is", "finished trials are")
        lines.append(f"{which} left out of the front for these reasons.")
    return lines


def _failures(trials: pd.DataFrame) -> list[str]:
    """Return the most frequent reasons for failures."""
    failed = trials[trials["status"] == "failed"]
    reasons = failed["error"].fillna("no reason recorded").value_counts()
    shown = reasons.head(MOST_REASONS)
    lines = [f"{counted(n, 'trial')} failed: {error}" for error, n in shown.items()]
    if len(reasons) > MOST_REASONS:
        more = len(reasons) - MOST_REASONS
        which = counted(more, "more reason for failures is", "more reasons for failures are")
        lines.append(f"{which} in the records.")
    return lines


def _few(trials: pd.DataFrame) -> list[str]:
    """Return a warning for each figure that was measured on few examples."""
    lines = []
    alone = trials[trials["models"].isna()]  # the others are judged on a whole population
    widths = (alone["attack_auc_high"] - alone["attack_auc_low"]).dropna() / 2
    nonmembers = alone["n_nonmembers"].dropna()
    if len(widths) and len(nonmembers) and 0 < nonmembers.min() < FEW:
        lines.append(
            f"The attacks were judged on {counted(int(nonmembers.min()), 'nonmember')}, fewer than "
            f"{FEW}: an AUC is known to about ±{widths.median():.2f} only, and smaller differences "
            "mean nothing."
        )
    split = judged_split(trials)
    sizes = trials[f"n_{split}"].dropna()
    if len(sizes) and 0 < sizes.min() < FEW:
        n = int(sizes.min())
        lines.append(
            f"Accuracy was measured on {counted(n, f'{split} example')}, fewer than {FEW}: one "
            f"example is {100 / n:.1f} points."
        )
    return lines


def _no_leak(trials: pd.DataFrame) -> list[str]:
    """Return a warning if no attack found a leak of an undefended model."""
    base = trials[(trials["number"] == BASELINE) & (trials["status"] == "ok")]
    found = [leaks(row) for row in records(base)]
    if not found or any(leak is not False for leak in found):
        return []
    return [
        "The strongest attack on the undefended model finds no more than it may find without a "
        "leak. This sweep cannot show that a defence helps, and it is no proof that nothing leaks."
    ]
