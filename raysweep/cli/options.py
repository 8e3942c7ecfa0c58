"""The arguments and options of the commands."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

# Several commands have these. Each means the same in all of them.
SpaceFile = Annotated[
    str, typer.Argument(help="A search space: a YAML file, or a name such as quickstart.")
]
Folder = Annotated[str, typer.Argument(help="Results folder of a sweep.")]
Folders = Annotated[list[str], typer.Argument(help="Results folders of sweeps.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the space."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="CONDITION", help="Only trials that meet it: 'accuracy >= 0.9'."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Include collapsed models and attacks without convergence.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutFile = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help="Write to a file, local or s3://."),
]

# Of `sweep`.
ResultsFolder = Annotated[
    str | None,
    typer.Option("--out", metavar="FOLDER", help="Results folder.  [default: results/NAME]"),
]
Trials = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of trials in the folder at the end."),
]
MaxConcurrent = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Trials at the same time.")
]
Address = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster: auto or host:port.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run failed configurations again.")
]
TimeBudget = Annotated[str | None, typer.Option(metavar="TIME", help="Stop after 90s, 10m or 2h.")]
Patience = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="How long to wait for a results folder that cannot be written."
    ),
]

# Of `front`, `best`, `report` and `list`.
Objective = Annotated[
    str, typer.Option("--by", metavar="OBJECTIVE", help="The objective to choose by.")
]
Page = Annotated[
    str,
    typer.Option("--out", metavar="FILE", help="Write to a page or a folder, local or s3://."),
]
Format = Literal["table", "csv", "json", "parquet"]
Catalogue = Literal["datasets", "models", "defences", "attacks", "samplers"]
