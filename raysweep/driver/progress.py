"""Show a running sweep: the trials done, the best figures so far, and the time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from raysweep.config.durations import duration
from raysweep.config.plain_text import printable
from raysweep.driver.time_left import TimeLeft
from raysweep.records.objectives import Objectives, objective
from raysweep.records.seeds import average_seeds

REFRESH = 0.5  # seconds between redraws of the live table

UNSHOWN = ("epsilon", "train_seconds")  # objectives whose best figure says nothing of a sweep

LINE_INTERVAL = 10.0  # seconds between lines where there is no terminal


class Progress:
    """Shows how far a sweep is: as a live table in a terminal, as lines of text elsewhere.

    ``rows`` (trial id -> record) are the records of the sweep, which the caller keeps up to date.
    The clock counts from ``began``, in time.monotonic, or from now.
    """

    def __init__(
        self,
        console: Console,
        rows: Mapping[str, Mapping[str, Any]],
        *,
        total: int,
        objectives: Objectives,
        began: float | None = None,
    ) -> None:
        self._console, self._total, self._objectives = console, total, objectives
        self._rows = rows
        self._n_before = self._n_noted = len(rows)
        self._start = time.monotonic() if began is None else began
        self._time_left = TimeLeft()
        self._next_update = 0.0
        self._n_measured = -1
        self._measured: dict[str, str] = {}
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, running: int, *, force: bool = False) -> None:
        """Redraw, at most every REFRESH seconds and for at most a twentieth of the time.

        ``force`` redraws at once.
        """
        began = time.monotonic()
        if len(self._rows) > self._n_noted:
            self._n_noted = len(self._rows)
            self._time_left.note([*self._rows.values()][self._n_before :], running)
        if not force and began < self._next_update:
            return

        if self._live is not None:
            self._live.update(self._table(running), refresh=True)
        else:
            cells = [f"{name} {value}" for name, value in self._cells(running).items()]
            self._console.print(" | ".join(cells), soft_wrap=True)

        now = time.monotonic()
        self._next_update = now + max(REFRESH if self._live else LINE_INTERVAL, 20 * (now - began))

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(printable(text), soft_wrap=True, markup=False)

    def _cells(self, running: int) -> dict[str, str]:
        rows = list(self._rows.values())
        count = Counter(row["status"] for row in rows)
        left = self._time_left.seconds(self._total - len(rows))
        pruned = f", pruned {count['pruned']}" if count["pruned"] else ""

        return {
            "done": f"{len(rows)}/{self._total}",
            "running": str(running),
            "failed": f"{count['failed']}{pruned}",
            **self._measure(rows),
            "elapsed": duration(time.monotonic() - self._start),
            "time left": "?" if left is None else f"about {duration(left)}",
        }

    def _table(self, running: int) -> Panel:
        """Return three columns of figures, which fit a terminal of 80 columns."""
        cells = [f"{name} [bold]{value}[/bold]" for name, value in self._cells(running).items()]
        grid = Table.grid(padding=(0, 3))
        for i in range(4):
            grid.add_row(*cells[i::4])
        return Panel(grid, title="raysweep", title_align="left", expand=False)

    def _measure(self, rows: list[Mapping[str, Any]]) -> dict[str, str]:
        """Return the best figures, the size of the front and its hypervolume, measured once.

        A figure is that of a trial that may stand on the front, and "-" without one.
        """
        if len(rows) != self._n_measured:
            self._n_measured = len(rows)
            names = [name for name in self._objectives.names if name not in UNSHOWN]
            self._measured = dict.fromkeys(map(_best_label, names), "-")
            size, volume = 0, 0.0
            if rows:
                frame = average_seeds(pd.DataFrame(rows))
                eligible = frame[self._objectives.eligible(frame)]
                self._measured |= {_best_label(name): _best(eligible, name) for name in names}
                size = len(self._objectives.front(frame))
                volume = self._objectives.hypervolume(frame)
            self._measured |= {"front": str(size), "hypervolume": f"{volume:.5f}"}
        return self._measured


def _best_label(name: str) -> str:
    """Return the name of the best figure so far. Each may come from another trial."""
    if name == "accuracy":
        return "best accuracy"
    figure = objective(name)
    return f"{'least' if figure.direction == 'min' else 'highest'} {figure.label}"


def _best(trials: pd.DataFrame, name: str) -> str:
    """Return the best figure of ``trials`` as text, "-" without one."""
    values = trials[name].dropna()
    if values.empty:
        return "-"
    best = values.max() if objective(name).direction == "max" else values.min()
    return f"{best:.{4 if name == 'inversion_mse' else 3}f}"
