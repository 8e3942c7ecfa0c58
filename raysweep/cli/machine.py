"""The commands on this machine and on what raysweep offers: list, schema, doctor, dashboard."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from raysweep.cli.options import AsJson, Catalogue, Folder, OutFile
from raysweep.cli.result import put


def list_(
    what: Annotated[Catalogue, typer.Argument(help="What to list.")],
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """List data sets, models, defences, attacks or samplers."""
    from raysweep.space.describe import catalogue, catalogue_text

    put(catalogue(what), catalogue_text(what), as_json=as_json, out=out)


def schema(as_json: AsJson = False, out: OutFile = None) -> None:
    """Print the JSON Schema of search spaces, for editors.

    It is JSON also without --json, indented.
    """
    import json

    from raysweep.space.schema import schema as make

    found = make()
    text = f"{json.dumps(found, indent=2)}\n"
    put(found, text, as_json=as_json, out=out)


def doctor(as_json: AsJson = False, out: OutFile = None) -> None:
    """Check this machine: versions, devices, folders, Ray, data."""
    from raysweep.driver.doctor import examine, to_text

    findings = examine()
    put(list(map(asdict, findings)), to_text(findings), as_json=as_json, out=out)
    raise typer.Exit(1 if any(finding.is_serious for finding in findings) else 0)


def dashboard(
    folder: Folder,
    port: Annotated[int, typer.Option(metavar="PORT", help="Port, on this machine only.")] = 8080,
) -> None:
    """Open optuna-dashboard on a sweep's study.

    Install it with pip install 'raysweep[dashboard]'.
    """
    from raysweep.driver.dashboard import serve_dashboard

    serve_dashboard(folder, port=port)
