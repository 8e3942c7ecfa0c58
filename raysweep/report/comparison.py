"""What the few named trials give and cost beside the undefended one, as sentences.

A difference is claimed only where the interval of the pairwise difference excludes 0 or, where no
examples were recorded, where the intervals of both figures do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from raysweep.attacks.intervals import Interval
from raysweep.config.plain_text import counted
from raysweep.records.accuracy import accuracy_interval
from raysweep.records.objectives import is_of_membership, objective
from raysweep.records.results import records
from raysweep.records.standing import Standing
from raysweep.report import findings
from raysweep.report.findings import BEST_WITH_DP, RECOMMENDED, UNDEFENDED, Row, has_role

SURE = 0.95  # of the resamples, in which a trial stays on the front


def recommendation(stand: Standing) -> list[str]:
    """Return which configuration of a front is recommended and why, as sentences; none without."""
    rows = {str(row["trial_id"]): row for row in records(stand.front)}
    chosen = rows.get(stand.recommended() or "")
    return [] if chosen is None or chosen["accuracy"] is None else [_recommended(stand, chosen)]


def verdict(n_trials: int, stand: Standing, picks: Mapping[str, Row]) -> list[str]:
    """Return the sentences that a reader in haste needs, what could be told apart first."""
    base, chosen = _first(picks, UNDEFENDED), _first(picks, RECOMMENDED)
    sentences = []
    if chosen is not None:
        sentences.append(_recommended(stand, chosen))
    if base is not None and base["accuracy"] is not None:
        if chosen is not None:
            sentences[:0] = [_claim(stand, chosen, base)]
        sentences.append(_undefended(base))
        private = _first(picks, BEST_WITH_DP)
        if private is not None and private["trial_id"] != base["trial_id"]:
            sentences.append(f"{_with_dp(private)} has {_beside(private, base, stand)}.")
    return [*sentences, *_front(n_trials, stand)]


def _first(picks: Mapping[str, Row], role: str) -> Row | None:
    return next((row for name, row in picks.items() if has_role(name, role)), None)


def _front(n_trials: int, stand: Standing) -> Iterator[str]:
    """Yield how large the front is, and how much of it is chance."""
    n_front = len(stand.front)
    yield (
        f"{n_front:,} of {counted(n_trials, 'trial')} {'is' if n_front == 1 else 'are'} on the "
        "front: no other trial is at least as good in every objective and better in one."
    )
    if stand.shares and n_front > 1:
        sure = sum(share >= SURE for share in stand.shares.values())
        examples = "models and examples" if stand.of_recipes else "examples"
        yield (
            f"With the same {examples} drawn again, {sure:,} of these {n_front:,} stay on it "
            f"{100 * SURE:.0f} times in 100. {_groups(stand)}"
        )


def _groups(stand: Standing) -> str:
    n = len(set(stand.groups.values()))
    if not stand.of_recipes:
        return "Another seed of the same configurations gives another front."
    if n == 1:
        return "None of them can be told from any other."
    return f"They form {n:,} groups, within which no configuration can be told from another."


def _claim(stand: Standing, chosen: Row, base: Row) -> str:
    """Return what is known about leakage beside the undefended model, and nothing more."""
    if stand.leak is None:
        return "No objective of this sweep says how much leaks."
    sure = [row for row in records(stand.front) if stand.leaks_less(str(row["trial_id"]))]
    if sure and stand.of_recipes:
        is_chosen = any(row["trial_id"] == chosen["trial_id"] for row in sure)
        return _leaks_less(stand, chosen if is_chosen else sure[0], base, n_sure=len(sure))

    label = objective(stand.leak).label
    if stand.pairs is None:
        return (
            "These records cannot be compared example by example: a difference is one only where "
            "intervals do not overlap."
        )
    if not stand.of_recipes:
        return (
            f"Which configuration leaks less than the undefended model cannot be told: the {label} "
            "of each is that of one model, and another seed gives another. Measure each on several "
            "models: `measure: {models: 16}` in the space."
        )
    return (
        f"No configuration on the front could be told apart from the undefended model in {label}. "
        + _what_would_tell(stand, chosen, base)
    )


def _leaks_less(stand: Standing, row: Row, base: Row, *, n_sure: int) -> str:
    """Return the sentence that claims an improvement, with the intervals that allow it."""
    assert stand.leak is not None
    name, trial = objective(stand.leak).label, str(row["trial_id"])
    gap = stand.gap_to_baseline(trial, stand.leak)
    cost = stand.gap_to_baseline(trial, "accuracy")
    others = f" So do {counted(n_sure - 1, 'other')} on the front." if n_sure > 1 else ""
    text = (
        f"Trial {trial[:8]} leaks less than the undefended model: {name} "
        f"{figure_text(row, stand.leak)} against {figure_text(base, stand.leak)}"
        f", a difference of {_signed(gap, 3)}"
    )
    if cost is not None:
        points = Interval(*(100 * end for end in cost))
        told = "" if cost.low > 0 or cost.high < 0 else ", which could be chance"
        text += f". In accuracy the difference is {_signed(points, 1)} points{told}"
    return (
        f"{text}. Both intervals are of pairs of models and allow for the "
        f"{counted(stand.n_searched, 'trial')} that were searched.{others}"
    )


def _what_would_tell(stand: Standing, chosen: Row, base: Row) -> str:
    """Return how many models or members would tell a configuration from the undefended one."""
    if chosen["trial_id"] == base["trial_id"]:
        return "The undefended model itself is recommended."
    models = stand.models_to_tell(str(chosen["trial_id"]))
    if models is not None:
        return f"About {models:,} models of each would tell the recommended one apart."
    members = stand.members_to_tell(str(chosen["trial_id"]))
    if members is not None:
        return (
            "More models would not help, more examples would: it takes a population of about "
            f"{members:,} to tell the recommended one apart."
        )
    return "The recommended one is equal to it."


def _recommended(stand: Standing, chosen: Row) -> str:
    """Return which configuration is recommended, and why."""
    text = f"Recommended: trial {str(chosen['trial_id'])[:8]}, accuracy {accuracy_text(chosen)}"
    near = len(stand.near_best())
    if stand.leak is None or near < 2:
        return f"{text}, the most accurate on the front."
    alone = "" if stand.of_recipes else " Each is one model: other seeds may recommend another."
    return (
        f"{text}. The accuracy of {counted(near, 'trial')} on the front cannot be told from the "
        f"highest, and of these it has the best {objective(stand.leak).label}: "
        f"{figure_text(chosen, stand.leak)}.{alone}"
    )


def figure_text(row: Row, name: str) -> str:
    """Return an objective of a trial with its interval."""
    if name == "attack_auc":
        return auc_text(row)
    if name == "inversion_mse":
        return inversion_text(row)
    return percent_text(row, name) if is_of_membership(name) else f"{row[name]:.3g}"


def _signed(gap: Interval | None, digits: int) -> str:
    if gap is None:
        return "unknown size"
    value, low, high = (f"{end:+.{digits}f}" for end in gap)
    return f"{value} [{low}, {high}]"


def _with_dp(row: Row) -> str:
    return f"The most accurate configuration with DP-SGD (epsilon {row['epsilon']:.3g})"


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


def _beside(row: Row, base: Row, stand: Standing) -> str:
    """Return accuracy, AUC and inversion of ``row`` beside those of ``base``."""
    parts = []
    gives = 100 * (base["accuracy"] - row["accuracy"])
    accuracy = f"an accuracy of {findings.percent(row['accuracy'])}"
    if _is_told(row, base, "accuracy", stand):
        parts.append(f"{accuracy}, {abs(gives):.1f} points {'less' if gives > 0 else 'more'}")
    else:
        parts.append(f"{accuracy}, which cannot be told apart from the undefended model's")

    if row["attack_auc"] is not None and base["attack_auc"] is not None:
        how = "which cannot be told apart from the undefended model's"
        if _is_told(row, base, "attack_auc", stand):
            how = f"which is {'less' if row['attack_auc'] < base['attack_auc'] else 'more'}"
        parts.append(f"an AUC of {auc_text(row)}, {how}")
    if row["inversion_mse"] is not None and base["inversion_mse"] is not None:
        parts.append(_inversion_beside(row, base, stand))
    return "; ".join(parts)


def _inversion_beside(row: Row, base: Row, stand: Standing) -> str:
    mse, other = inversion_text(row), inversion_text(base)
    intervals = ends_of(row, "inversion_mse"), ends_of(base, "inversion_mse")
    how = "as well as without a defence, as far as can be told"
    if _is_told(row, base, "inversion_mse", stand):
        how = "worse" if row["inversion_mse"] > base["inversion_mse"] else "better"
    note = "; no interval is known" if None in intervals else ""
    return f"and members are rebuilt {how} (MSE {mse} against {other}{note})"


def _is_told(row: Row, base: Row, figure: str, stand: Standing) -> bool:
    """Return whether a figure of two trials differs for sure: by pairs, or else by intervals."""
    gap = stand.gap_to_baseline(str(row["trial_id"]), figure)
    if gap is not None and stand.baseline == base["trial_id"]:
        return gap.low > 0 or gap.high < 0
    if figure == "accuracy":
        return not overlap(_accuracy_interval(row), _accuracy_interval(base))
    return not overlap(ends_of(row, figure), ends_of(base, figure))


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
    interval = accuracy_interval(row)
    if interval is None:
        return findings.percent(row["accuracy"])
    return (
        f"{findings.percent(row['accuracy'])} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )


def _accuracy_interval(row: Row) -> tuple[float, float] | None:
    interval = accuracy_interval(row)
    return None if interval is None else (interval.low, interval.high)


def overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Return whether two intervals share a value. A figure without one supports no claim."""
    if one is None or other is None:
        return True
    return max(one[0], other[0]) <= min(one[1], other[1])
