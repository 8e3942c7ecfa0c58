"""The command line: each command calls the package and prints the result.

Exit codes: 0 done, 1 the sweep ran and something failed, 2 wrong use, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from raysweep.errors import RaysweepError, SpaceError

if TYPE_CHECKING:
    from raysweep.records.columns import EpochRecord
    from raysweep.space.space import Space


app = typer.Typer(
    help="Find the configuration that gives the most accuracy for the least leakage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

SpaceFile = Annotated[Path, typer.Argument(help="A search space (search_spaces/*.yaml).")]
Folders = Annotated[list[str], typer.Argument(help="Results folders of sweeps.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a key of the space: training.epochs=5.")
]

Format = Literal["table", "csv", "json", "parquet"]

Catalogue = Literal["datasets", "models", "defences", "attacks", "samplers"]


def parse_pairs(texts: list[str] | None, option: str) -> dict[str, Any]:
    """Return KEY=VALUE texts as a mapping, with each value read as YAML."""
    from raysweep.config.yaml import scalar

    values = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise SpaceError(f"{option} takes KEY=VALUE", got=text)
        values[key.strip()] = scalar(value)
    return values


def _space(path: Path, settings: list[str] | None) -> Space:
    from raysweep.space.parsing import load_space

    return load_space(path, parse_pairs(settings, "--set"))


def _seconds(text: str | None, option: str) -> float | None:
    """Return a duration such as 90s, 10m or 2h in seconds."""
    from raysweep.config import durations

    if text is None:
        return None
    try:
        return durations.seconds(text)
    except ValueError as error:
        raise SpaceError(f"{option} {error}") from None


def _print_version(asked: bool) -> None:
    if asked:
        from raysweep import __version__

        print(f"raysweep {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option(help="Print the version and exit.", callback=_print_version, is_eager=True)
]


@app.callback()
def _options(version: Version = False) -> None:
    """Declare the options that come before a command."""


@app.command()
def sweep(
    space: SpaceFile,
    out: Annotated[str | None, typer.Option(help="Results folder [results/<name>].")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Number of trials in the folder at the end.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at the same time.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster: auto or host:port.")] = None,
    settings: Settings = None,
    time_budget: Annotated[str | None, typer.Option(help="Stop after 90s, 10m or 2h.")] = None,
    patience: Annotated[
        str, typer.Option(help="How long to wait for a results folder that cannot be written.")
    ] = "5m",
    retry_failed: Annotated[bool, typer.Option(help="Run failed configurations again.")] = False,
) -> None:
    """Run a search space. The same command continues a sweep that has stopped."""
    from rich.console import Console

    from raysweep.driver.sweep import sweep as run
    from raysweep.records.results import Results
    from raysweep.report.terminal import print_front

    console = Console(stderr=True)
    loaded = _space(space, settings)
    summary = run(
        loaded,
        out=out,
        trials=trials,
        max_concurrent=max_concurrent,
        address=address,
        time_budget=_seconds(time_budget, "--time-budget"),
        retry_failed=retry_failed,
        patience=_seconds(patience, "--patience") or 0.0,
        console=console,
    )

    results = Results(summary.out)
    print_front(results, summary.front)
    from raysweep.report.figures import write_front  # here, because it takes a second to import

    figure = write_front(results, summary.front, loaded.name)
    pruned = f" {summary.pruned} pruned," if loaded.pruning else ""
    print(f"{summary.ok} trials,{pruned} {summary.failed} failed. Records and front: {summary.out}")
    if figure:
        print(f"Figure: {figure}")

    if summary.failed:
        errors = results.trials.query("status == 'failed'")["error"].value_counts()
        for error, count in errors.head(3).items():
            print(f"  {count} x {error}", file=sys.stderr)
    if summary.missing:
        print(f"{summary.ended}: {summary.missing} trials are missing; the same command continues")
    if summary.ended == "interrupted":
        raise typer.Exit(130)
    raise typer.Exit(1 if summary.failed else 0)


@app.command()
def trial(
    space: SpaceFile,
    at: Annotated[
        list[str] | None, typer.Option(help="The value of an axis: --at target_epsilon=2.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every row as JSON.")] = False,
    settings: Settings = None,
) -> None:
    """Run one configuration in this process, without Ray. Other axes take their neutral values."""
    loaded = _space(space, settings)
    try:
        config = loaded.config(parse_pairs(at, "--at"))
    except SpaceError as error:
        raise SpaceError(f"--at: {error}") from None

    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")  # read when torch is loaded
    from rich.console import Console

    from raysweep.report.terminal import print_json, print_trial
    from raysweep.trial.run import run_trial

    with Console(stderr=True).status("loading") as status:
        began = time.monotonic()
        epochs = int(min(config.training.epochs, float(config.defences["early_stopping"])))

        def show(epoch: EpochRecord) -> None:
            left = (time.monotonic() - began) / epoch.epoch * (epochs - epoch.epoch)
            then = f"about {left:.0f} s of training left, then the attacks"
            status.update(
                f"epoch {epoch.epoch} of {epochs}: accuracy {epoch.accuracy:.3f}, "
                + (then if epoch.epoch < epochs else "the attacks run")
            )

        result = run_trial(config, on_epoch=show, threads=loaded.resources.threads)
    (print_json if as_json else print_trial)(result)


@app.command()
def front(
    folders: Folders,
    format: Annotated[Format, typer.Option(help="Form of the output.")] = "table",  # noqa: A002
    everything: Annotated[
        bool,
        typer.Option("--all", help="Include collapsed models and attacks that did not converge."),
    ] = False,
) -> None:
    """Print the front of one sweep, or of several sweeps with the same data and attacks."""
    from raysweep.records.results import load, records
    from raysweep.report.terminal import print_front_of

    results = load(*folders)
    if format == "table":
        print_front_of(results, everything=everything)
        return

    rows = results.front(everything=everything)
    if format == "csv":
        print(rows.to_csv(index=False), end="")
    elif format == "json":
        from raysweep.config import to_plain

        print(json.dumps(to_plain(records(rows))))
    else:
        rows.to_parquet(sys.stdout.buffer)


@app.command()
def best(
    folder: Annotated[str, typer.Argument(help="Results folder of a sweep.")],
    where: Annotated[list[str] | None, typer.Option(help="Conditions: 'accuracy >= 0.9'.")] = None,
    by: Annotated[str, typer.Option(help="The objective to choose by.")] = "accuracy",
) -> None:
    """Print the best configuration as a search space, which `raysweep trial` can run."""
    import yaml

    from raysweep.records.choice import choose, parse_conditions
    from raysweep.records.results import load, records
    from raysweep.records.trial_config import TrialConfig
    from raysweep.space.space import fixed_space

    results = load(folder)
    conditions = parse_conditions(where or [])
    trials = results.compared([condition.column for condition in conditions])
    choice = choose(trials, results.objectives, conditions, by)
    row = records(results.rows(trials={choice.row["trial_id"]}))[0]

    names = (*results.objectives.names, "epsilon")
    values = ", ".join(f"{name} {row[name]:.4g}" for name in names)
    if not choice.fits:
        print(f"no trial fits {' and '.join(where or [])}; the nearest:", file=sys.stderr)
        print(f"  trial {row['trial_id']}: {values}", file=sys.stderr)
        raise typer.Exit(1)

    config = TrialConfig.from_json(row["config"])
    name = f"{results.documents[0]['name']}-{row['trial_id']}"
    print(f"# trial {row['trial_id']}: {values}")
    document = fixed_space(config, name, results.objectives)
    print(yaml.safe_dump(document, sort_keys=False), end="")


@app.command()
def report(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="The page; its figures are written beside it.")] = Path(
        "report.html"
    ),
) -> None:
    """Write one HTML page about a sweep, or several sweeps with the same data and attacks."""
    from raysweep.report.build import write

    page, *pictures = write(folders, out)
    print(f"Report: {page}, and {len(pictures)} figures beside it")


@app.command()
def validate(space: SpaceFile, settings: Settings = None) -> None:
    """Check a search space without running it."""
    from raysweep.config.user_function import is_reference, user_function

    loaded = _space(space, settings)
    dataset, model = loaded.config().dataset, loaded.config().model
    for kind, name in (("dataset", dataset.name), ("model", model.name)):
        if is_reference(name):
            user_function(name, kind)

    size = loaded.size()
    grid = "" if size is None or not loaded.axes else f", {size} grid points"
    print(f"{space}: valid. {loaded.sampler.trials} trials by {loaded.sampler.name}{grid}")
    for key, axis in loaded.axes.items():
        print(f"  {key}: {axis.model_dump(by_alias=True, exclude_defaults=True)}")
    if loaded.scenarios:
        n_trials = len(list(loaded.scenario_points()))
        print(f"  scenarios: {', '.join(loaded.scenarios)} ({n_trials} trials)")
    if loaded.pruning:
        print(
            f"  pruning: {loaded.pruning.name} after epochs {', '.join(map(str, loaded.rungs()))}"
        )
    print(f"  objectives: {', '.join(f'{k} {v}' for k, v in loaded.objectives.to_plain().items())}")
    if dataset.find() is None:
        print(f"warning: data set {dataset.name!r} is not on this machine yet", file=sys.stderr)


@app.command("list")
def list_(what: Annotated[Catalogue, typer.Argument(help="What to list.")]) -> None:
    """List data sets, models, defences, attacks or samplers, one line each."""
    from raysweep import defences, models
    from raysweep.attacks import INVERSION, MEMBERSHIP
    from raysweep.data.sources import SOURCES
    from raysweep.space.settings import SAMPLERS

    catalogues: dict[Catalogue, dict[str, Any]] = {
        "datasets": SOURCES,
        "models": models.MODELS,
        "defences": {
            key: f"{description} (neutral: {defences.neutral()[key]})"
            for key, description in defences.descriptions().items()
        },
        "attacks": {**MEMBERSHIP, **INVERSION},
        "samplers": SAMPLERS,
    }

    for name, thing in catalogues[what].items():
        line = thing if isinstance(thing, str) else (thing.__doc__ or "").strip().splitlines()[0]
        print(f"{name:20} {line}")
    if what in ("datasets", "models"):
        print(f"{'package.module:function':20} your own")


@app.command()
def schema() -> None:
    """Print the JSON Schema of search spaces, for editors."""
    from raysweep.space.schema import schema as make

    print(json.dumps(make(), indent=2))


@app.command()
def dashboard(
    folder: Annotated[str, typer.Argument(help="Results folder of a sweep.")],
    port: Annotated[int, typer.Option(help="Port, on this machine only.")] = 8080,
) -> None:
    """Open optuna-dashboard on a sweep's study (pip install 'raysweep[dashboard]')."""
    from raysweep.driver.dashboard import serve_dashboard

    serve_dashboard(folder, port=port)


def main() -> None:
    """Run the command line. A mistake of the user is one message and exit code 2."""
    try:
        app()
    except RaysweepError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
