"""Print sweeps and fronts in a terminal of 80 columns or more."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysweep.config.plain_text import broken, counted, one_line, say
from raysweep.records.conditions import Condition, meeting
from raysweep.records.guarantee import guarantee_lines
from raysweep.records.pareto import leading
from raysweep.records.results import Results, records
from raysweep.records.standing import Standing
from raysweep.records.summary import Summary
from raysweep.report.cautions import collapsed_with_dp, empty_front
from raysweep.report.comparison import auc_text, recommendation
from raysweep.report.findings import axis_values
from raysweep.report.output import as_json

MOST_ROWS = 100  # of a table that is not in a terminal

LINES_OF_OTHERS = 12  # of a terminal: a table's head, what it leaves out, and the next prompt

LEAST_ROWS = 5  # also where the terminal has room for fewer


WHAT_STAYS = "stays: how often no other trial beats it when the examples are drawn again."

WHAT_GROUPS = "group: its trials cannot be told from one another."


def print_summary(summary: Summary, results: Results, name: str) -> None:
    """Print the front of a sweep that has ended, its counts, and how to continue it."""
    if summary.is_empty:
        say(f"{summary.ended} before the first trial ended: {_missing(summary)}")
        say("the same command continues; no record was written, so there is no front")
        return

    compared = results.compared()
    print_front(results, summary.standing, compared, reason=empty_front(compared))
    from raysweep.report.figures import write_front  # here, because it takes a second to import

    figure = write_front(results, summary.front, name)
    pruned = f" {summary.pruned} pruned," if summary.pruned else ""
    counts = f"{counted(summary.ok, 'trial')},{pruned} {summary.failed} failed"
    print(f"{counts}. Records and front: {summary.out}")
    if figure:
        print(f"Figure: {figure}")

    print_failures(summary, results)
    if summary.missing:
        say(f"{summary.ended}: {_missing(summary)}; the same command continues")


def print_failures(summary: Summary, results: Results) -> None:
    """Print the most frequent reasons of the trials that failed, on stderr."""
    if summary.failed:
        errors = results.rows(["status", "error"]).query("status == 'failed'")["error"]
        for error, count in errors.value_counts().head(3).items():
            say(f"  {count} x {one_line(error)}", sys.stderr)


def _missing(summary: Summary) -> str:
    return counted(summary.missing, "trial is missing", "trials are missing")


def print_summary_json(summary: Summary, results: Results, name: str) -> None:
    """Print how a sweep ended, its counts and the trials on its front as one line of JSON."""
    from raysweep.report.figures import write_front

    write_front(results, summary.front, name)
    names = ("out", "ended", "ok", "pruned", "failed", "missing")
    ids = summary.front["trial_id"].tolist()
    print(as_json({name: getattr(summary, name) for name in names} | {"front": ids}), end="")


def print_front_of(results: Results, *, everything: bool, where: Sequence[Condition] = ()) -> None:
    """Print the front, how many trials it was chosen from, and its hypervolume."""
    compared = results.compared([*_axis_columns(results), *(c.column for c in where)])
    trials, stand = meeting(compared, where), results.standing(everything=everything, where=where)
    front = stand.front
    options = [*(f"--where {shlex.quote(str(c))}" for c in where), *["--all"] * everything]
    print_front(results, stand, compared, options=options, reason=empty_front(trials, where))

    corner = results.objectives.reference_point(trials)
    reference = ", ".join(
        f"{name} {value:g}" if isfinite(value) else f"{name} (no finite value)"
        for name, value in corner.items()
    )
    volume = results.objectives.hypervolume(trials)
    pruned = int((trials["status"] == "pruned").sum())
    count = counted(len(trials), "trial") + (f" ({pruned} pruned)" if pruned else "")
    say(f"{len(front)} of {count}; hypervolume {volume:.5f} against {reference}")


def _axis_columns(results: Results) -> list[str]:
    """Return the columns of the axes, with the epsilon spent in place of the target."""
    return ["epsilon" if axis == "target_epsilon" else axis for axis in results.axes]


def _shown_axes(results: Results, front: pd.DataFrame) -> list[str]:
    """Return the scenario, if there is any, and the axes; the number of averaged seeds for seed."""
    is_averaged = "seeds" in front
    axes = sorted([*results.differing, *_axis_columns(results)], key=lambda axis: axis != "epsilon")
    named = ["scenario"] if "scenario" in front and front["scenario"].notna().any() else []
    return named + ["seeds" if axis == "seed" and is_averaged else axis for axis in axes]


def print_front(
    results: Results,
    stand: Standing,
    trials: pd.DataFrame,
    *,
    reason: str,
    options: Sequence[str] = (),
) -> None:
    """Print the front as a table, and a warning if every trial with DP-SGD collapsed.

    ``trials`` are those of :meth:`Results.compared`. The columns are what differs between joined
    sweeps, the axes, the objectives with the interval of the AUC, and the strongest attack where
    there is room. A terminal shows as many rows as fit. ``options`` are those of `raysweep front`
    that give this front, and ``reason`` says why it is empty.
    """
    lines = [reason]
    if not stand.front.empty:
        console = Console(width=None if sys.stdout.isatty() else 120)
        lines = [*_notes(results, stand.front), *recommendation(stand)]
        shown = _spread(results, stand.front, _n_rows(console, lines))
        _print_table(console, results, _with_settings(results, shown))
        if len(shown) < len(stand.front):
            folders = shlex.join(store.path for store in results.stores)
            command = " ".join(["raysweep front", folders, *options, "--format csv"])
            print(f"{len(shown)} of {len(stand.front)}, spread over the front. All:\n  {command}")

    for line in lines:
        say(line)
    warning = collapsed_with_dp(trials)
    if warning:
        say(f"warning: {warning}")


def _n_rows(console: Console, lines: Sequence[str]) -> int:
    """Return how many rows of a table fit a terminal above ``lines`` and LINES_OF_OTHERS."""
    if not sys.stdout.isatty():
        return MOST_ROWS
    below = sum(broken(line, console.width).count("\n") + 1 for line in lines)
    room = console.height - below - LINES_OF_OTHERS
    return min(MOST_ROWS, max(LEAST_ROWS, room))


def _print_table(console: Console, results: Results, shown: pd.DataFrame) -> None:
    axes = [name for name in _shown_axes(results, shown) if name in shown]
    names = list(dict.fromkeys(["trial_id", *axes, *results.objectives.names]))
    names += [name for name in ("front_share", "front_group") if name in shown]
    columns = {name: [_cell(name, row) for row in records(shown)] for name in names}
    left_out = _left_out(columns, axes, console.width)
    if console.width >= 110:
        columns["strongest_attack"] = [_cell("strongest_attack", row) for row in records(shown)]

    title = "The front: no trial beats these in every objective"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    kept = {name: cells for name, cells in columns.items() if name not in left_out}
    for name, cells in kept.items():
        table.add_column(_heading(name), justify="right", min_width=_least_width(name, cells))
    for row in zip(*kept.values(), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)

    if left_out:
        headings = ", ".join(map(_heading, left_out))
        say(f"Left out, as {console.width} columns are too few: {headings}. --format csv has all.")


def _notes(results: Results, front: pd.DataFrame) -> Iterator[str]:
    """Yield what to know of the columns of a table."""
    if "front_share" in front:
        yield " ".join([WHAT_STAYS, *[WHAT_GROUPS] * ("front_group" in front)])
    if "seeds" in front:
        yield "Figures are means over the seeds of each configuration."
    yield from _guarantees(results, front)
    if "inversion_mse" in results.objectives.names:
        floor = front["inversion_floor"].iloc[0]
        yield f"The mean input, which sees no model, has an inversion MSE of {floor:.4f}."


def _heading(name: str) -> str:
    short = name.rpartition(":")[2]  # an own defence without its module
    short = short if ":" in name else name.rpartition(".")[2]
    return SHORT_HEADINGS.get(name, short.replace("_", " "))


def _least_width(name: str, cells: Sequence[str]) -> int:
    """Return the letters that a column needs: those of its cells, and of the words of its head."""
    return max(map(len, [*_heading(name).split(), *cells]))


def _left_out(columns: Mapping[str, Sequence[str]], axes: Sequence[str], room: int) -> list[str]:
    """Return the last axes, without which a table of ``columns`` fits ``room`` letters."""
    space = sum(_least_width(*column) + 2 for column in columns.items())
    left_out: list[str] = []
    for axis in reversed(axes):
        if space > room:
            left_out.insert(0, axis)
            space -= _least_width(axis, columns[axis]) + 2
    return left_out


def _guarantees(results: Results, shown: pd.DataFrame) -> list[str]:
    """Return what the epsilons of a table are for, a line for each kind of guarantee."""
    if not {"epsilon", "target_epsilon"} & {*shown, *results.axes}:
        return []
    columns = ["trial_id", "epsilon", "neighbours", "group_records", "epsilon_per_group"]
    return guarantee_lines(records(results.rows(columns, trials=set(shown["trial_id"]))))


def _spread(results: Results, front: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return ``n`` rows spread over the front, the most accurate one first."""
    if len(front) <= n:
        return front
    values = results.objectives.comparable(front)
    return front[leading(values, results.objectives.directions, n)]


def _with_settings(results: Results, front: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a column for each key that differs between sweeps or varies in one."""
    keys = [key for key in (*results.differing, *results.axes) if key not in front]
    keys = [key for key in keys if key != "target_epsilon"]
    if not keys:
        return front
    configs = results.rows(["config"], trials=set(front["trial_id"])).set_index("trial_id")
    texts = configs["config"].reindex(front["trial_id"]).fillna("").tolist()
    columns = {key: axis_values(texts, key) for key in keys}
    return pd.concat([front, pd.DataFrame(columns, index=front.index)], axis=1)


SHORT_HEADINGS = {
    "trial_id": "trial",
    "attack_auc": "attack AUC",
    "inversion_mse": "MSE",
    "front_share": "stays",
    "front_group": "group",
    "tpr_at_fpr_0_001": "TPR 0.1 %",
    "tpr_at_fpr_0_01": "TPR 1 %",
    "tpr_at_fpr_0_1": "TPR 10 %",
}


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if name == "trial_id":
        return str(value)[:8]
    if isinstance(value, str):
        return one_line(value, most=40)
    if value is None:
        return "-"
    if name == "attack_auc":
        return auc_text(row)
    return format(value, {"accuracy": ".3f", "inversion_mse": ".4f"}.get(name, ".3g"))
