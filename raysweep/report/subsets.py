"""What single classes, subgroups and canaries show, as the cells of a table and as sentences.

A row is one of the table ``subsets``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from math import inf

from raysweep.attacks.metrics import FPRS
from raysweep.config.plain_text import counted
from raysweep.report.comparison import ends_of, with_interval
from raysweep.report.findings import Row

PLURALS = {"class": "classes", "subgroup": "subgroups", "canary": "canaries"}

MOST_NAMED = 5  # classes or subgroups that a sentence names


def cells(rows: Sequence[Row], most: int) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the cells of a table, without columns that have no value.

    Brackets hold 95 % intervals.
    Of the classes and of the subgroups at most ``most`` are listed, the highest AUC first.
    """
    rates = [f"tpr_at_fpr_{label}" for label in reversed(FPRS)]
    headings = ["of", "examples", "AUC [95 %]"]
    headings += [f"TPR at {100 * fpr:g} % FPR" for fpr in reversed(FPRS.values())]
    headings += ["always found", "accuracy"]
    table = [
        [
            f"{row['kind']} {row['subset'].replace('_', ' ')}",
            f"{row['n']:,}",
            with_interval(row["auc"], ends_of(row, "auc"), 3, fewer=1),
            *(_percent(row, name) for name in (*rates, "always_found", "accuracy")),
        ]
        for kind in PLURALS
        for row in _listed(rows, kind, most)
    ]
    has_value = [any(line[i] for line in table) for i in range(len(headings))]
    return list(compress(headings, has_value)), [list(compress(line, has_value)) for line in table]


def _percent(row: Row, name: str) -> str:
    """Return a share in percent with its interval in whole percent; empty if not measured."""
    share, ends = row[name], ends_of(row, name)
    if share is None or ends is None:
        return ""
    return f"{100 * share:.1f} % [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]"


def _listed(rows: Sequence[Row], kind: str, most: int) -> list[Row]:
    of_kind = [row for row in rows if row["kind"] == kind]
    if kind == "canary":
        return of_kind
    return sorted(of_kind, key=lambda row: -inf if row["auc"] is None else row["auc"])[::-1][:most]


def left_out(rows: Sequence[Row], most: int) -> str:
    """Return how many classes and subgroups a table of ``most`` does not list; "" if none."""
    counts = {
        kind: sum(row["kind"] == kind for row in rows) - most
        for kind in PLURALS
        if kind != "canary"
    }
    parts = [counted(n, kind, PLURALS[kind]) for kind, n in counts.items() if n > 0]
    return " and ".join(parts)


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is known of who is found most often, and what any attacker finds of canaries."""
    for kind in ("class", "subgroup"):
        measured = [row for row in rows if row["kind"] == kind and _has_gap(row)]
        if measured:
            yield _exposed(kind, measured)
    yield from _bounds([row for row in rows if row["kind"] == "canary"])


def _has_gap(row: Row) -> bool:
    return row["auc_gap"] is not None and ends_of(row, "auc_gap") is not None


def _exposed(kind: str, measured: Sequence[Row]) -> str:
    """Return which subsets have a higher AUC than all other examples, where the interval says so.

    The intervals are corrected for the number of subsets.
    """
    k = len(measured)
    choice = f"the interval allows for the choice among {k:,} {PLURALS[kind]}"
    above = [row for row in measured if row["auc_gap_low"] > 0]
    if not above:
        each = "each interval" + choice.removeprefix("the interval")
        return f"No {kind} is shown to be found more often than the other examples ({each})."

    above.sort(key=lambda row: -row["auc_gap"])
    first, others = above[0], [str(row["subset"]) for row in above[1:]]
    gap = with_interval(first["auc_gap"], ends_of(first, "auc_gap"), 3)
    more = f" Also above: {', '.join(others[:MOST_NAMED])}" if others else ""
    more += f" and {len(others) - MOST_NAMED:,} more" if len(others) > MOST_NAMED else ""
    return (
        f"Most exposed {kind}: {first['subset']}. Its AUC is {gap} above that of the other "
        f"examples ({choice}).{more + '.' if more else ''}"
    )


def _bounds(canaries: Sequence[Row]) -> Iterator[str]:
    """Yield the most that any attacker finds of canaries that are one record, and two records."""
    bounds = {
        row["records"]: row["tpr_bound_at_fpr_0_1"]
        for row in canaries
        if None not in (row["tpr_bound_at_fpr_0_1"], row["records"])
    }
    told = [
        f"{100 * bound:.1f} % of those that are {'one record' if n == 1 else f'{n:.0f} records'}"
        for n, bound in sorted(bounds.items())
    ]
    if told:
        yield f"By its epsilon any attacker finds, at 10 % FPR, at most {' and '.join(told)}."
