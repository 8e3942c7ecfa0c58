"""The commands on guarantees: the ledger of a trial."""

from __future__ import annotations

from typing import Annotated

import typer

from raysweep.cli.options import AsJson, Folder


def ledger(
    folder: Folder,
    trial: Annotated[
        str, typer.Option(metavar="ID", help="The trial: its id, or the beginning of it.")
    ],
    as_json: AsJson = False,
) -> None:
    """Print what a trial's epsilon promises, and to whom."""
    from raysweep.records.results import load
    from raysweep.report.ledger import ledger_of
    from raysweep.report.output import as_json as to_json

    found = ledger_of(load(folder), trial)
    print(to_json(found.to_plain()) if as_json else found.to_text(), end="")
