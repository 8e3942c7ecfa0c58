"""Print a confirmation in a terminal or as JSON, and draw its figure into its folder."""

from __future__ import annotations

import sys

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysweep.config.plain_text import counted, say
from raysweep.records.confirmed import FILE, FOLDER, read_confirmed
from raysweep.records.results import Results, load, records
from raysweep.records.summary import Summary
from raysweep.report import confirmed
from raysweep.report.figures import png
from raysweep.report.output import as_json
from raysweep.report.terminal import SHORT_HEADINGS, print_failures

PICTURE = "confirmed.png"

WIDTH = 124  # of a table of three objectives that is not in a terminal


def print_confirmed(summary: Summary, results: Results) -> None:
    """Print what was claimed beside what was confirmed, what it shows, and how to continue."""
    rows = None if summary.is_empty else read_confirmed(results.stores[0])
    if rows is not None:
        figures = confirmed.shown_figures(rows, results.objectives)
        _print_table(rows, figures)
        for sentence in confirmed.sentences(rows):
            say(sentence)
        counts = f"{counted(summary.ok, 'configuration')}, {summary.failed} failed"
        print(f"{counts}. Comparison: {results.stores[0].path}/{FOLDER}/{FILE}")
        picture = _draw(rows, figures, results)
        if picture:
            print(f"Figure: {picture}")

    if summary.failed:
        print_failures(summary, load(summary.out))
    if summary.missing:
        missing = counted(summary.missing, "configuration is missing", "configurations are missing")
        say(f"{summary.ended}: {missing}; the same command continues")


def print_confirmed_json(summary: Summary, results: Results) -> None:
    """Print how a confirmation ended, its counts and its rows as one line of JSON."""
    rows = None if summary.is_empty else read_confirmed(results.stores[0])
    if rows is not None:
        _draw(rows, confirmed.shown_figures(rows, results.objectives), results)
    names = ("out", "ended", "ok", "failed", "missing")
    found = [] if rows is None else records(rows)
    print(as_json({n: getattr(summary, n) for n in names} | {"configurations": found}), end="")


def _print_table(rows: pd.DataFrame, figures: list[str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    title = "What the sweep claimed, and what was confirmed"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    for heading in confirmed.headings(figures, SHORT_HEADINGS):
        is_whole = heading in ("trial", confirmed.CONFIRMED_HEADING) and console.width >= 100
        table.add_column(heading, justify="right", no_wrap=is_whole)
    for cells in confirmed.cells(rows, figures):
        table.add_row(*map(Text, cells))
    console.print(table)


def _draw(rows: pd.DataFrame, figures: list[str], results: Results) -> str | None:
    """Draw the figure into the folder of the confirmation; return its path, None without rows."""
    if not figures or not (rows["status"] == "ok").any():
        return None
    store = results.stores[0]
    store.folder.write_bytes(png(confirmed.figure(rows, figures)), FOLDER, PICTURE)
    return f"{store.path}/{FOLDER}/{PICTURE}"
