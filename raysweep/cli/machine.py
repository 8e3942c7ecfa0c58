"""The commands on this machine and on what raysweep offers: list, schema, doctor, dashboard."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from raysweep.cli.options import AsJson, Catalogue, Folder


def list_(
    what: Annotated[Catalogue, typer.Argument(help="What to list.")], as_json: AsJson = False
) -> None:
    """List data sets, models, defences, attacks or samplers."""
    from raysweep.report.output import as_json as to_json
    from raysweep.space.describe import catalogue, catalogue_text

    print(to_json(catalogue(what)) if as_json else catalogue_text(what), end="")


def schema() -> None:
    """Print the JSON Schema of search spaces, for editors."""
    import json

    from raysweep.space.schema import schema as make

    print(json.dumps(make(), indent=2))


def doctor(as_json: AsJson = False) -> None:
    """Check this machine: versions, devices, folders, Ray, data."""
    from raysweep.driver.doctor import examine, to_text
    from raysweep.report.output import as_json as to_json

    findings = examine()
    print(to_json(list(map(asdict, findings))) if as_json else to_text(findings), end="")
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
