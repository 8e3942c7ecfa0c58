"""The command ``raysweep confirm``."""

from __future__ import annotations

from typing import Annotated

import typer

from raysweep.cli.options import (
    Address,
    AsJson,
    Everything,
    Folder,
    MaxConcurrent,
    RetryFailed,
    TimeBudget,
    Where,
)


def confirm(
    folder: Folder,
    models: Annotated[
        int, typer.Option(metavar="K", help="Models of each configuration: even, at least 4.")
    ] = 32,
    where: Where = None,
    everything: Everything = False,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most N configurations, spread over the front."),
    ] = None,
    max_concurrent: MaxConcurrent = None,
    address: Address = None,
    time_budget: TimeBudget = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Measure the front again, on fresh models and on the test split.

    The same command continues a confirmation that has stopped. It is written to FOLDER/confirm.
    """
    from rich.console import Console

    from raysweep.config.durations import option_seconds
    from raysweep.driver.confirm import confirm as run
    from raysweep.records.results import load
    from raysweep.report.confirmed_output import print_confirmed, print_confirmed_json

    summary = run(
        folder,
        models=models,
        where=where or (),
        everything=everything,
        top=top,
        max_concurrent=max_concurrent,
        address=address,
        time_budget=option_seconds(time_budget, "--time-budget"),
        retry_failed=retry_failed,
        console=Console(stderr=True),
    )
    (print_confirmed_json if as_json else print_confirmed)(summary, load(folder))
    if summary.ended == "interrupted":
        raise typer.Exit(130)
    raise typer.Exit(1 if summary.failed or summary.is_empty else 0)
