"""The section of the page on what a confirmation found."""

from __future__ import annotations

from raysweep.config.plain_text import counted
from raysweep.records.objectives import objective
from raysweep.report import confirmed
from raysweep.report.html import Html, element, join, table
from raysweep.report.selection import Material


def section(material: Material, figure: Html) -> Html:
    """Return what was claimed beside what was found again, below a figure; else nothing."""
    rows = material.confirmed
    if rows is None:
        return Html("")
    figures = confirmed.shown_figures(rows, material.objectives)
    labels = {name: f"{objective(name).label} claimed" for name in figures}
    headings, cells = confirmed.headings(figures, labels), confirmed.cells(rows, figures)

    notes = confirmed.sentences(rows)
    n_others = len(set(material.front["trial_id"]) - set(rows["trial_id"]))
    if n_others:
        verb = "was" if n_others == 1 else "were"
        notes.append(f"{counted(n_others, 'trial')} on the front above {verb} not confirmed.")
    paragraphs = (element("p", note, class_="note") for note in notes)
    return join(figure, table("What was confirmed", headings, cells), *paragraphs)
