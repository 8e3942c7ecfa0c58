"""What to know before one trusts the results, as sentences without markup."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from raysweep.config.training import PRIVATE_DEFAULTS
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import REQUIREMENTS, Objectives

FEW = 200  # nonmembers or validation examples, below which small differences mean nothing

MOST_REASONS = 5  # of failures, that are told one by one

MISSED = {
    "collapsed": "collapsed: their predictions say nothing about the labels, nor do attacks",
    "inversion_converged": "have an inversion that did not converge, which is no privacy",
}
"""Column -> the statement about trials that miss its requirement for the front."""

_STATED = {key: value for key, value in asdict(PRIVATE_DEFAULTS).items() if value is not None}

DP_REMEDY = (
    f"let DP-SGD train with `training.private: "
    f"{{{', '.join(f'{key}: {value}' for key, value in _STATED.items())}}}`; if it does already, "
    "give it more epochs, more members or a larger target_epsilon"
)


def warnings(trials: pd.DataFrame, front: pd.DataFrame, objectives: Objectives) -> list[str]:
    """Return warnings to read before trusting the results, as sentences."""
    collapse = collapsed_with_dp(trials)
    lines = [collapse] if collapse else []
    lines += [*_left_out(trials, objectives), *_failures(trials), *_few(trials), *_no_leak(trials)]
    for column, name in (("split_hash", "splits of the data"), ("versions", "sets of versions")):
        kinds = trials[column].nunique()
        if kinds > 1:
            lines.append(f"The trials come from {kinds} {name}: compare them with care.")
    if front.empty:
        lines.append("No trial stands on the front: all failed, collapsed or did not converge.")
    return lines


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


def _left_out(trials: pd.DataFrame, objectives: Objectives) -> list[str]:
    """Return how many trials miss something, and how many are not on the front for it."""
    ok = trials["status"] == "ok"
    left_out = int((ok & ~objectives.eligible(trials)).sum())
    count = {
        **{
            text: ok & trials[column].eq(not REQUIREMENTS[column])
            for column, text in MISSED.items()
        },
        "spent more epsilon than was asked": trials["epsilon"] > 1.01 * trials["target_epsilon"],
        "needed more than one attempt (a worker, its node or its memory failed)": (
            trials["attempts"] > 1
        ),
        "were pruned: stopped at a rung, never attacked in full": trials["status"] == "pruned",
    }
    lines = [f"{int(hit.sum()):,} trials {text}." for text, hit in count.items() if hit.any()]
    if left_out:
        lines.append(f"{left_out:,} finished trials are left out of the front for such reasons.")
    return lines


def _failures(trials: pd.DataFrame) -> list[str]:
    """Return the most frequent reasons for failures."""
    failed = trials[trials["status"] == "failed"]
    reasons = failed["error"].fillna("no reason recorded").value_counts()
    lines = [f"{n:,} trials failed: {error}" for error, n in reasons.head(MOST_REASONS).items()]
    if len(reasons) > MOST_REASONS:
        lines.append(f"{len(reasons) - MOST_REASONS} more reasons for failures are in the records.")
    return lines


def _few(trials: pd.DataFrame) -> list[str]:
    """Return a warning for each figure that was measured on few examples."""
    lines = []
    widths = (trials["attack_auc_high"] - trials["attack_auc_low"]).dropna() / 2
    nonmembers = trials["n_nonmembers"].dropna()
    if len(widths) and len(nonmembers) and 0 < nonmembers.min() < FEW:
        lines.append(
            f"The attacks were judged on {int(nonmembers.min()):,} nonmembers, fewer than {FEW}: "
            f"an AUC is known to about ±{widths.median():.2f} only, and smaller differences mean "
            "nothing."
        )
    validation = trials["n_validation"].dropna()
    if len(validation) and 0 < validation.min() < FEW:
        n = int(validation.min())
        lines.append(
            f"Accuracy was measured on {n:,} validation examples, fewer than {FEW}: one example is "
            f"{100 / n:.1f} points."
        )
    return lines


def _no_leak(trials: pd.DataFrame) -> list[str]:
    """Return a warning if the undefended model's AUC cannot be told apart from a guess."""
    base = trials[(trials["number"] == BASELINE) & (trials["status"] == "ok")]
    low = base["attack_auc_low"].to_numpy(dtype=float, na_value=np.nan)
    if not len(low) or not (low <= 0.5).all():
        return []
    return [
        "The strongest attack on the undefended model cannot be told apart from a guess. This "
        "sweep cannot show that a defence helps, and it is no proof that nothing leaks."
    ]
