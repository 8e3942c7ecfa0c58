"""The ledger of a trial: what its epsilon promises, under which assumptions, and what not.

The order is that of the pyramid in NIST SP 800-226 (Near et al. 2025), from the promise at the top
to what it stands on.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.config.plain_text import one_line
from raysweep.errors import SpaceError
from raysweep.records import ledger_parts as parts_of
from raysweep.records.guarantee import choice_line, is_private_choice, neighbours_of
from raysweep.records.results import Results, records

MOST_NAMED = 5  # trials that are named where none, or more than one, has the id


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger of one trial. ``parts`` are its sections, heading -> name -> value."""

    trial_id: str
    summary: str
    parts: Mapping[str, Mapping[str, Any]]

    def to_plain(self) -> dict[str, Any]:
        """Return the ledger as plain values."""
        return {"trial_id": self.trial_id, "summary": self.summary, **self.parts}

    def to_text(self) -> str:
        """Return the ledger for a terminal."""
        lines = [f"trial {self.trial_id}: {self.summary}"]
        for heading, entries in self.parts.items():
            lines += ["", heading.replace("_", " ").capitalize()]
            for name, value in entries.items():
                values = value if isinstance(value, list) else [value]
                label = name.replace("_", " ")
                lines += [f"  {label}: {cell(part)}" for part in values]
        return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """Return a value of a ledger as text."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "unknown" if value is None else one_line(str(value), most=1000)


def ledger_of(results: Results, trial: str) -> Ledger:
    """Return the ledger of a trial, named by its id or by the beginning of it.

    Raises:
        SpaceError: no trial, or more than one, has such an id; the nearest is named.

    """
    return ledger(results, _row(results, trial))


def _row(results: Results, trial: str) -> dict[str, Any]:
    ids = results.rows(["trial_id"])["trial_id"].tolist()
    found = [one for one in ids if trial and one.startswith(trial)]
    if len(found) != 1:
        what = "no trial has the id" if not found else f"{len(found)} trials have an id that begins"
        nearest = sorted(found or ids, key=lambda one: -_likeness(one, trial))
        hint = f"; the nearest: {', '.join(nearest[:MOST_NAMED])}" if nearest else ""
        raise SpaceError(f"--trial: {what} {trial!r}{hint}")
    return records(results.rows(trials={found[0]}))[0]


def _likeness(trial_id: str, beginning: str) -> float:
    """Return how much the first letters of an id are like ``beginning``, in [0, 1]."""
    return difflib.SequenceMatcher(None, trial_id[: len(beginning)], beginning).ratio()


def ledger(results: Results, row: Mapping[str, Any]) -> Ledger:
    """Return the ledger of a row of ``trials`` of ``results``."""
    ids = {str(row["trial_id"])}
    document = results.documents[0]
    return ledger_of_row(
        row,
        attacks=records(results.of("attacks", ids)),
        subsets=records(results.of("subsets", ids)),
        choice=choice_line(document) or None,
        sweep=document,
        n_trials=len(results.rows(["trial_id"])),
        from_system=is_private_choice(document),
    )


def ledger_of_row(
    row: Mapping[str, Any],
    *,
    attacks: Sequence[Mapping[str, Any]],
    subsets: Sequence[Mapping[str, Any]] = (),
    choice: str | None = None,
    sweep: Mapping[str, Any] | None = None,
    n_trials: int = 1,
    from_system: bool,
) -> Ledger:
    """Return the ledger of a row of ``trials``, given its rows of ``attacks`` and ``subsets``.

    ``choice`` says what its epsilon covers where that is of a private choice. ``sweep`` is the
    space of the sweep of ``n_trials`` trials that it is of; None where it ran alone.
    ``from_system`` says that noise and batches came from the operating system.
    """
    trial_id = str(row["trial_id"])
    if row["status"] == "failed":
        error = one_line(str(row["error"]), most=500)
        summary = f"failed, so no model was released and nothing is promised ({error})"
        return Ledger(trial_id=trial_id, summary=summary, parts={})

    audit, neighbours = parts_of.audit(row, attacks, subsets), neighbours_of(row)
    if neighbours is None:
        summary = "trained without DP-SGD: nothing is promised, and no attacker is bounded"
        return Ledger(trial_id=trial_id, summary=summary, parts={"audit": audit})

    parts_of.mechanism_of(row)  # raises where a stranger's record holds no numbers
    of_choice = choice is not None
    not_covered = parts_of.NOT_COVERED_BY_CHOICE if of_choice else parts_of.NOT_COVERED
    parts = {
        "promise": parts_of.promise(row, of_choice=of_choice),
        "unit": parts_of.unit(row, neighbours),
        "what_any_attacker_can_reach": parts_of.reach(row, of_choice=of_choice),
        "mechanism": parts_of.mechanism(row),
        "public_quantities": parts_of.public(row, neighbours),
        "audit": audit,
        "randomness": parts_of.randomness(row, from_system=from_system),
        "selection": parts_of.selection(row, choice, sweep, n_trials),
        "not_covered": {"beside": list(not_covered)},
        "trust": {
            "model": "central: whoever trains sees all records, and only the released weights are "
            "protected"
        },
    }
    return Ledger(trial_id=trial_id, summary=_summary(row, of_choice), parts=parts)


def _summary(row: Mapping[str, Any], of_choice: bool) -> str:
    of = " of the whole choice" if of_choice else ""
    pruned = " (pruned: of the epochs that it was trained for)" if row["status"] == "pruned" else ""
    return f"epsilon {row['epsilon']:.4g} at delta {row['delta']:g}{of} for one record{pruned}"
