"""The section of the page on who is found: classes, subgroups and canaries."""

from __future__ import annotations

from collections.abc import Iterator

from raysweep.records.results import records
from raysweep.report.findings import RECOMMENDED, UNDEFENDED, has_role
from raysweep.report.html import Html, element, join, table
from raysweep.report.selection import Material
from raysweep.report.subsets import cells, left_out, sentences

MOST_ROWS = 12  # of the classes, and of the subgroups

NOTE = (
    "Each figure is that of the recipe among the examples of one line, at a threshold of its own."
)

OF_CANARIES = (
    " Canaries are no examples of yours: they have a wrong label, or features in a random order, "
    "or are there twice, and models were trained on them for this table alone. They show the worst "
    "that a recipe does."
)


def subsets_section(material: Material) -> Html:
    """Return a table of the undefended and of the recommended trial; empty without `measure`."""
    names = {
        str(row["trial_id"]): name
        for name, row in material.picks.items()
        if has_role(name, UNDEFENDED) or has_role(name, RECOMMENDED)
    }
    found = material.results.of("subsets", set(names)).dropna(subset=["kind", "subset", "n"])
    parts = [
        part
        for trial_id, name in names.items()
        for part in _of_trial(name, records(found[found["trial_id"] == trial_id]))
    ]
    if not parts:
        return Html("")
    note = NOTE + (OF_CANARIES if (found["kind"] == "canary").any() else "")
    return join(*parts, element("p", note, class_="note"))


def _of_trial(name: str, rows: list[dict[str, object]]) -> Iterator[Html]:
    """Yield the heading, the sentences and the table of a trial; nothing without rows."""
    if not rows:
        return
    yield element("h3", name)
    yield from (element("p", sentence) for sentence in sentences(rows))
    headings, lines = cells(rows, MOST_ROWS)
    yield table(f"Who is found: {name}", headings, [[c or "-" for c in line] for line in lines])
    missing = left_out(rows, MOST_ROWS)
    if missing:
        yield element("p", f"{missing} with lower AUCs are in the records.", class_="note")
