"""What the few named trials give and cost beside the undefended one, as sentences.

A difference is claimed only where the intervals of both figures do not overlap.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raysweep.config.plain_text import counted
from raysweep.report import findings
from raysweep.report.findings import BEST_WITH_DP, LEAST_RECOGNISED, UNDEFENDED, Row, has_role


def verdict(n_trials: int, n_front: int, picks: Mapping[str, Row]) -> list[str]:
    """Return the sentences that a reader in haste needs, the size of the front first."""
    sentences = [
        f"{n_front:,} of {counted(n_trials, 'trial')} {'is' if n_front == 1 else 'are'} on the "
        "front: no other trial is at least as good in every objective and better in one."
    ]
    base = _first(picks, UNDEFENDED)
    if base is None or base["accuracy"] is None:
        return sentences

    sentences.append(_undefended(base))
    for role in (LEAST_RECOGNISED, BEST_WITH_DP):
        row = _first(picks, role)
        if row is not None and row["trial_id"] != base["trial_id"]:
            sentences.append(f"The {_subject(role, row)} has {_beside(row, base)}.")
    return sentences


def _first(picks: Mapping[str, Row], role: str) -> Row | None:
    return next((row for name, row in picks.items() if has_role(name, role)), None)


def _subject(role: str, row: Row) -> str:
    if role == LEAST_RECOGNISED:
        return "configuration whose members are recognised least, at little cost in accuracy,"
    return f"most accurate configuration with DP-SGD (epsilon {row['epsilon']:.3g})"


def _undefended(base: Row) -> str:
    """Return what the attacks found on the undefended model."""
    sentence = (
        f"Without a defence the model is right in {findings.percent(base['accuracy'])} of cases"
    )
    auc, leak, null = base["attack_auc"], findings.leaks(base), null_text(base)
    if auc is None:
        return f"{sentence}."
    sentence += f", and the strongest attack reaches an AUC of {auc_text(base)}"
    if leak is False and null:
        return f"{sentence}, no more than these attacks may reach without a leak ({null})."
    if leak is False:
        return f"{sentence}, which cannot be told apart from a guess (0.5)."
    beside = f", more than these attacks reach without a leak ({null})" if leak and null else ""
    return (
        f"{sentence}{beside}: of one member and one stranger it picks the member {100 * auc:.0f} "
        "times in 100, and a guess 50 times."
    )


def null_text(row: Row) -> str:
    """Return what the strongest of the attacks reaches without a leak; empty if it is unknown.

    >>> null_text({"attack_auc_null": 0.521, "attack_auc_null_high": 0.58})
    '0.52, rarely above 0.58'
    """
    null, high = row["attack_auc_null"], row["attack_auc_null_high"]
    if null is None:
        return ""
    return f"{null:.2f}" if high is None else f"{null:.2f}, rarely above {high:.2f}"


def _beside(row: Row, base: Row) -> str:
    """Return accuracy, AUC and inversion of ``row`` beside those of ``base``."""
    parts = []
    gives = 100 * (base["accuracy"] - row["accuracy"])
    accuracy = f"an accuracy of {findings.percent(row['accuracy'])}"
    if overlap(_accuracy_interval(row), _accuracy_interval(base)):
        parts.append(f"{accuracy}, which cannot be told apart from the undefended model's")
    else:
        parts.append(f"{accuracy}, {abs(gives):.1f} points {'less' if gives > 0 else 'more'}")

    if row["attack_auc"] is not None and base["attack_auc"] is not None:
        parts.append(f"an AUC of {auc_text(row)}, {_auc_beside(row, base)}")
    if row["inversion_mse"] is not None and base["inversion_mse"] is not None:
        parts.append(_inversion_beside(row, base))
    return "; ".join(parts)


def _auc_beside(row: Row, base: Row) -> str:
    if overlap(ends_of(row, "attack_auc"), ends_of(base, "attack_auc")):
        return "which cannot be told apart from the undefended model's"
    return "which is less" if row["attack_auc"] < base["attack_auc"] else "which is more"


def _inversion_beside(row: Row, base: Row) -> str:
    mse, other = inversion_text(row), inversion_text(base)
    intervals = ends_of(row, "inversion_mse"), ends_of(base, "inversion_mse")
    if overlap(*intervals):
        how = "as well as without a defence, as far as can be told"
    else:
        how = "worse" if row["inversion_mse"] > base["inversion_mse"] else "better"
    note = "; no interval is known" if None in intervals else ""
    return f"and members are rebuilt {how} (MSE {mse} against {other}{note})"


def ends_of(row: Row, name: str) -> tuple[float, float] | None:
    """Return the ends of the interval of a figure; None if it is not recorded."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return None if low is None or high is None else (low, high)


def with_interval(
    value: float | None, ends: tuple[float, float] | None, digits: int, *, fewer: int = 0
) -> str:
    """Return a figure with its interval in brackets, of ``fewer`` digits; empty without a figure.

    >>> with_interval(0.584, (0.5234, 0.6431), 3, fewer=1)
    '0.584 [0.52, 0.64]'
    """
    if value is None or ends is None:
        return "" if value is None else f"{value:.{digits}f}"
    low, high = (f"{end:.{digits - fewer}f}" for end in ends)
    return f"{value:.{digits}f} [{low}, {high}]"


def percent_text(row: Row, name: str) -> str:
    """Return a share in percent with its interval; empty if it was not measured.

    >>> percent_text({"tail": 0.05, "tail_low": 0.032, "tail_high": 0.071}, "tail")
    '5.0 % [3.2, 7.1]'
    """
    share, ends = row[name], ends_of(row, name)
    if share is None:
        return ""
    interval = "" if ends is None else " [{:.1f}, {:.1f}]".format(*(100 * end for end in ends))
    return f"{100 * share:.1f} %{interval}"


def inversion_text(row: Row) -> str:
    """Return the MSE of rebuilt members, with its 95 % interval where one is recorded."""
    return with_interval(row["inversion_mse"], ends_of(row, "inversion_mse"), 4)


def inversion_beside_floors(row: Row) -> str:
    """Return the MSE of rebuilt members beside that of guesses; empty if it was not measured."""
    if row["inversion_mse"] is None or row["inversion_floor"] is None:
        return ""
    beside = {
        "nonmembers": row["inversion_mse_nonmembers"],
        "class mean": row["inversion_floor_label"],
        "mean input": row["inversion_floor"],
    }
    parts = [f"{name} {value:.4f}" for name, value in beside.items() if value is not None]
    return f"{inversion_text(row)} ({', '.join(parts)})"


def epsilon_text(row: Row) -> str:
    """Return the epsilon that was spent, and the one asked for."""
    asked, spent = row["target_epsilon"], row["epsilon"]
    if spent is None or np.isinf(spent):
        return "no DP"
    if asked is None or np.isinf(asked):
        return f"{spent:.3g} spent"
    return f"{spent:.3g} spent, {asked:.3g} asked"


def auc_text(row: Row) -> str:
    """Return the AUC of the strongest attack with its interval; empty if it was not measured.

    A collapsed model has no interval: its predictions say nothing, nor does an attack on it.
    """
    if row["attack_auc"] is None:
        return ""
    if row["collapsed"]:
        return f"{row['attack_auc']:.3f} collapsed"
    return with_interval(row["attack_auc"], ends_of(row, "attack_auc"), 3, fewer=1)


def accuracy_text(row: Row) -> str:
    """Return the accuracy in percent with its exact 95 % interval; empty if not measured."""
    if row["accuracy"] is None:
        return ""
    interval = findings.accuracy_interval(row)
    if interval is None:
        return findings.percent(row["accuracy"])
    return (
        f"{findings.percent(row['accuracy'])} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )


def _accuracy_interval(row: Row) -> tuple[float, float] | None:
    interval = findings.accuracy_interval(row)
    return None if interval is None else (interval.low, interval.high)


def overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Return whether two intervals share a value. A figure without one supports no claim."""
    if one is None or other is None:
        return True
    return max(one[0], other[0]) <= min(one[1], other[1])
