"""The command line: each command calls the package and prints the result.

Exit codes: 0 done, 1 the sweep ran and something failed, 2 wrong use, 130 Ctrl-C.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from raysweep.cli import guarantee, machine
from raysweep.cli.confirm import confirm
from raysweep.cli.options import (
    Address,
    AsJson,
    Everything,
    Folder,
    Folders,
    Format,
    MaxConcurrent,
    Objective,
    OutFile,
    Page,
    Patience,
    ResultsFolder,
    RetryFailed,
    Settings,
    SpaceFile,
    TimeBudget,
    Trials,
    Where,
)
from raysweep.cli.result import put
from raysweep.cli.wrong_use import WRONG_USE, told
from raysweep.errors import RaysweepError, SpaceError

if TYPE_CHECKING:
    from raysweep.space.space import Space


app = typer.Typer(
    help="Find the configuration that gives the most accuracy for the least leakage.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _space(path: str, settings: list[str] | None) -> Space:
    from raysweep.config.yaml import parse_pairs
    from raysweep.space.parsing import load_space

    return load_space(path, parse_pairs(settings, "--set"))


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
def init(folder: Annotated[str, typer.Argument(help="The folder to write.")]) -> None:
    """Write a commented space, a model and data that run as they are."""
    from raysweep.space.starter import write_starter

    print(f"{folder}: {', '.join(path.name for path in write_starter(folder))}")
    print(f"Next: cd {folder} && raysweep sweep space.yaml")


@app.command()
def validate(
    space: SpaceFile, settings: Settings = None, as_json: AsJson = False, out: OutFile = None
) -> None:
    """Check a search space, and its data if they are on this machine."""
    from raysweep.driver.preflight import check_here
    from raysweep.space.describe import describe, to_text

    loaded = _space(space, settings)
    remarks = check_here(loaded)
    found = describe(loaded)
    put(found, f"{space}: valid. {to_text(found)}\n", as_json=as_json, out=out)
    for remark in remarks:
        print(remark, file=sys.stderr)


@app.command()
def sweep(
    space: SpaceFile,
    out: ResultsFolder = None,
    trials: Trials = None,
    max_concurrent: MaxConcurrent = None,
    address: Address = None,
    settings: Settings = None,
    time_budget: TimeBudget = None,
    patience: Patience = "5m",
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Run a search space. The same command continues a sweep that has stopped."""
    from rich.console import Console

    from raysweep.config.durations import option_seconds
    from raysweep.driver.sweep import sweep as run
    from raysweep.records.results import Results
    from raysweep.report.terminal import print_summary, print_summary_json

    loaded = _space(space, settings)
    summary = run(
        loaded,
        out=out,
        trials=trials,
        max_concurrent=max_concurrent,
        address=address,
        time_budget=option_seconds(time_budget, "--time-budget"),
        retry_failed=retry_failed,
        patience=option_seconds(patience, "--patience") or 0.0,
        console=Console(stderr=True),
    )

    (print_summary_json if as_json else print_summary)(summary, Results(summary.out), loaded.name)
    if summary.ended == "interrupted":
        raise typer.Exit(130)
    raise typer.Exit(1 if summary.failed or summary.is_empty else 0)


@app.command()
def trial(
    space: SpaceFile,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="The value of an axis: --at target_epsilon=2."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
    out: OutFile = None,
    save: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the model (.safetensors) and its card (.json)."),
    ] = None,
    secure_noise: Annotated[
        bool, typer.Option("--secure-noise", help="DP-SGD's noise comes from the system, unseeded.")
    ] = False,
) -> None:
    """Run one configuration in this process, without Ray. Other axes take their neutral values."""
    from raysweep.config.yaml import parse_pairs

    loaded = _space(space, settings)
    given = parse_pairs(at, "--at")
    try:
        config = loaded.config(given)
    except SpaceError as error:
        raise SpaceError(f"--at: {error}") from None

    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")  # read when torch is loaded
    from raysweep.report.one_trial import TrialStatus, load_and_tell, print_trial, trial_json
    from raysweep.report.output import check_output, write_output
    from raysweep.trial.run import run_trial
    from raysweep.trial.saved_model import Trained, card_path, check_path, save_model

    check_output(out)
    if save:
        check_path(save, others=[out])
    trained: list[Trained] = []
    with TrialStatus(config) as status_line:
        result = run_trial(
            config,
            load=load_and_tell,
            on_epoch=status_line.show,
            on_target=trained.append if save else None,
            threads=loaded.resources.threads,
            secure_noise=secure_noise,
        )
    if out or as_json:
        write_output(trial_json(result), out)
    if not as_json:
        print_trial(result, config)
    if save:
        save_model(save, trained[0], result)
        print(f"Model: {save}, and its card {card_path(save)}", file=sys.stderr)


@app.command()
def status(folder: Folder, as_json: AsJson = False, out: OutFile = None) -> None:
    """Print how far a sweep is, also while it runs."""
    from raysweep.driver import status as progress
    from raysweep.records.results import load

    state = progress.status(load(folder))
    put(state, f"{progress.to_text(state)}\n", as_json=as_json, out=out)


@app.command()
def front(
    folders: Folders,
    where: Where = None,
    everything: Everything = False,
    format: Annotated[Format, typer.Option(help="Form of the output.")] = "table",  # noqa: A002
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Print the front of a sweep.

    Several sweeps with the same data and attacks have one front.
    """
    from raysweep.records.results import load
    from raysweep.report.output import form_of, format_rows, write_output
    from raysweep.report.terminal import print_front_of

    results = load(*folders)
    conditions = results.conditions(where or [])
    form = "json" if as_json else form_of(out, format)
    if form == "table":
        print_front_of(results, everything=everything, where=conditions)
        return
    rows = results.front(everything=everything, where=conditions)
    write_output(format_rows(rows, form), out)


@app.command()
def best(
    folders: Folders,
    where: Where = None,
    by: Objective = "accuracy",
    everything: Everything = False,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Print the best configuration as a space for `raysweep trial`."""
    from raysweep.records.choice import choose
    from raysweep.records.results import load
    from raysweep.space.chosen import Chosen

    results = load(*folders)
    conditions = results.conditions(where or [])
    trials = results.compared(["error", *(condition.column for condition in conditions)])
    choice = choose(trials, results.objectives, conditions, by, everything=everything)
    chosen = Chosen(results, choice)
    if not choice.fits:
        asked = " and ".join(where or [])
        print(f"no trial fits {asked}; the nearest:\n  {chosen}", file=sys.stderr)
        raise typer.Exit(1)
    put(chosen.to_plain(), chosen.to_yaml(), as_json=as_json, out=out)


@app.command()
def report(
    folders: Folders,
    where: Where = None,
    everything: Everything = False,
    as_json: AsJson = False,
    out: Page = "report.html",
) -> None:
    """Write an HTML page about a sweep.

    Several sweeps with the same data and attacks have one page.
    """
    from raysweep.config.plain_text import counted
    from raysweep.report.build import write

    page, *pictures = write(folders, out, where=where or (), everything=everything)
    text = f"Report: {page}, and {counted(len(pictures), 'figure')} beside it\n"
    put({"page": page, "figures": pictures}, text, as_json=as_json, out=None)


app.command()(confirm)
app.command()(guarantee.ledger)
app.command()(guarantee.selftest)
app.command()(guarantee.load)


app.command("list")(machine.list_)
app.command()(machine.schema)
app.command()(machine.doctor)
app.command()(machine.dashboard)


def _collect_rarely() -> None:
    """Look for garbage less often than Python does, and not at all at the end.

    The libraries make a million objects that live as long as the process. To look through them
    takes a fifth of their imports, and a second or two at the end.
    """
    gc.set_threshold(10_000, 10, 10)
    atexit.register(gc.freeze)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why an output cannot be written: the disk below it is full or broken."""


def _open_streams() -> None:
    """Let every text be printed, whatever the encoding, and nowhere if an output is closed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a file would get its number
        pass
    os.close(number)

    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(os.devnull, mode)  # noqa: SIM115
        for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
    )
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # not UTF-8


def main() -> None:
    """Run the command line. A mistake of the user is one message and exit code 2."""
    _collect_rarely()
    _open_streams()
    try:
        raise SystemExit(app(prog_name="raysweep", standalone_mode=False) or 0)
    except WRONG_USE as error:
        print(told(error), file=sys.stderr)
        raise SystemExit(2) from None
    except (RaysweepError, ImportError, MemoryError) as error:
        from raysweep.config.plain_text import message

        print(f"error: {message(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        if error.filename is not None or error.errno not in NO_ROOM:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        remedy = "what is recorded is safe; make room, and run the same command again"
        print(f"error: the output cannot be written ({error.strerror}); {remedy}", file=sys.stderr)
        raise SystemExit(2) from None
