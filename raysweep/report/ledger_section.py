"""The ledgers of the trials with DP-SGD that a page names, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raysweep.errors import StoreError
from raysweep.records.guarantee import neighbours_of
from raysweep.records.ledger import Ledger, cell, ledger
from raysweep.records.results import records
from raysweep.report.html import Html, element, join
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
    return join(*(part for row in rows for part in _of_row(material, names, row)))


def _of_row(material: Material, names: Mapping[str, str], row: Mapping[str, Any]) -> Iterator[Html]:
    """Yield the ledger of a row under its name, or why a record of a stranger has none."""
    yield element("h3", names[str(row["trial_id"])])
    try:
        yield from _parts(ledger(material.results, row))
    except StoreError as error:
        yield element("p", f"There is no ledger of this trial: {error}.")


def _parts(found: Ledger) -> Iterator[Html]:
    yield element("p", f"Trial {found.trial_id}: {found.summary}.")
    for heading, entries in found.parts.items():
        yield element("h4", heading.replace("_", " ").capitalize())
        yield element("dl", *(_entry(name, value) for name, value in entries.items()))


def _entry(name: str, value: Any) -> Html:
    values = value if isinstance(value, list) else [value]
    return join(element("dt", name.replace("_", " ")), *(element("dd", cell(v)) for v in values))
