"""The ledgers of the trials with DP-SGD that a page names, as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raysweep.records.guarantee import neighbours_of
from raysweep.records.results import records
from raysweep.report.html import Html, element, join
from raysweep.report.ledger import Ledger, cell, ledger
from raysweep.report.selection import Material


def ledger_section(material: Material) -> Html:
    """Return the ledger of each named trial with DP-SGD; empty without one."""
    names = {
        str(row["trial_id"]): name
        for name, row in material.picks.items()
        if neighbours_of(row) is not None
    }
    if not names:
        return Html("")
    rows = records(material.results.rows(trials=set(names)))
    ledgers = {names[str(row["trial_id"])]: ledger(material.results, row) for row in rows}
    return join(*(part for name, found in ledgers.items() for part in _parts(name, found)))


def _parts(name: str, found: Ledger) -> Iterator[Html]:
    yield element("h3", name)
    yield element("p", f"Trial {found.trial_id}: {found.summary}.")
    for heading, entries in found.parts.items():
        yield element("h4", heading.replace("_", " ").capitalize())
        yield element("dl", *(_entry(name, value) for name, value in entries.items()))


def _entry(name: str, value: Any) -> Html:
    values = value if isinstance(value, list) else [value]
    return join(element("dt", name.replace("_", " ")), *(element("dd", cell(v)) for v in values))
