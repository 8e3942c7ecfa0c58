"""Figures of papers from tables: panels of curves and sheets of images, with published values.

Nothing is measured here. A column ``y`` may have the half-width of its interval in ``y_pm``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from raysweep.report.figures import PALETTE

PUBLISHED: dict[str, Any] = {
    "marker": "*",
    "s": 260,
    "color": "crimson",
    "edgecolor": "black",
    "zorder": 5,
}


def curves(
    table: pd.DataFrame,
    x: str,
    panels: Mapping[str, str],
    hue: str,
    *,
    title: str,
    x_label: str,
    log: Sequence[str] = (),
    published: pd.DataFrame | None = None,
) -> Figure:
    """Return a panel for each column of ``panels`` (column -> label), a curve for each ``hue``.

    Columns named in ``log`` have a logarithmic axis. ``published`` has ``x`` and those of the
    columns that the paper gives: a star each.
    """
    groups = list(table.groupby(hue, sort=False))
    colours = mpl.colormaps[PALETTE](np.linspace(0, 0.92, len(groups)))

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(max(8.4, 5.6 * len(panels)), 4.9), layout="constrained")
        for axes, (y, label) in zip(
            np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
        ):
            for (name, group), colour in zip(groups, colours, strict=True):
                _curve(axes, group.sort_values(x), x, y, color=colour, label=str(name))
            if published is not None and y in published:
                axes.scatter(published[x], published[y], **PUBLISHED, label="published")
            axes.set(xlabel=x_label, ylabel=label)
            drawn = np.isfinite(table[y]).any()  # an empty axis cannot be logarithmic
            _scale(axes, x in log, y in log and bool(drawn))
        _legend(figure)
        figure.suptitle(title, fontsize="x-large", fontweight="bold")

    return figure


def dots(
    table: pd.DataFrame,
    by: str,
    panels: Mapping[str, str],
    *,
    title: str,
    hue: str | None = None,
    colours: Mapping[str, str] | None = None,
    published: pd.DataFrame | None = None,
    mark: float | None = 0.0,
) -> Figure:
    """Return a panel for each column of ``panels`` (column -> label), a row for each ``by``.

    Each ``hue`` has its dot with an interval, in the colour that ``colours`` names or one of the
    palette. ``published`` has ``by`` and the columns that the paper gives, drawn as stars. A line
    marks ``mark``, the place of no change.
    """
    names = list(dict.fromkeys([*table[by], *([] if published is None else published[by])]))
    groups = [("ours", table)] if hue is None else list(table.groupby(hue, sort=False))
    shades = list(mpl.colormaps[PALETTE](np.linspace(0.15, 0.75, len(groups))))
    if colours is not None:
        shades = [colours[str(name)] for name, _ in groups]

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        size = (max(8.4, 4.2 * len(panels) + 1.8), 0.42 * len(names) + 1.9)
        figure = Figure(figsize=size, layout="constrained")
        drawn = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        for axes, (column, label) in zip(drawn, panels.items(), strict=True):
            for i, ((name, group), colour) in enumerate(zip(groups, shades, strict=True)):
                # The dots of one row stand a little above each other, one for each hue.
                shift = 0.5 * ((i + 0.5) / len(groups) - 0.5)
                rows = shift + np.array([names.index(x) for x in group[by]], dtype=float)
                _dots(axes, group, column, rows, color=colour, label=str(name))
            if published is not None and column in published:
                places = [names.index(x) for x in published[by]]
                axes.scatter(published[column], places, **PUBLISHED, label="published")
            if mark is not None:
                axes.axvline(mark, color="black", linewidth=1.2, zorder=1)
            axes.set(xlabel=label, ylabel="")
            axes.locator_params(axis="x", nbins=6)
        drawn[0].set(yticks=range(len(names)), yticklabels=names)
        drawn[0].set_ylim(len(names) - 0.5, -0.5)
        if hue is not None or published is not None:
            _legend(figure)
        figure.suptitle(title, fontsize="x-large", fontweight="bold")

    return figure


def _dots(
    axes: Axes, group: pd.DataFrame, column: str, rows: NDArray[np.float64], **look: Any
) -> None:
    """Draw a column as dots with their intervals, each in its place of ``rows``."""
    spread = np.abs(group[f"{column}_pm"]) if f"{column}_pm" in group else None
    axes.errorbar(group[column], rows, xerr=spread, fmt="o", capsize=3, **look)


def _curve(axes: Axes, group: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    group = group[np.isfinite(group[y])]
    marker = "o" if len(group) <= 20 else None
    axes.plot(group[x], group[y], marker=marker, **look)
    if f"{y}_pm" in group:
        low, high = group[y] - group[f"{y}_pm"], group[y] + group[f"{y}_pm"]
        axes.fill_between(group[x], low, high, color=look["color"], alpha=0.15, linewidth=0)


def _scale(axes: Axes, log_x: bool, log_y: bool) -> None:
    for is_log, axis, scale in ((log_x, axes.xaxis, "xscale"), (log_y, axes.yaxis, "yscale")):
        if is_log:
            axes.set(**{scale: "log"})
            axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_minor_formatter(mpl.ticker.NullFormatter())


def _legend(figure: Figure) -> None:
    """Draw one legend below all panels, in as many columns as fit."""
    handles, labels = _entries(figure)
    # An inch of a figure holds nine letters, and a marker needs the room of six.
    fit = int(9 * figure.get_figwidth() / (6 + max(map(len, labels), default=0)))
    ncols = max(1, min(6, len(labels), fit))
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, frameon=False)


def _entries(figure: Figure) -> tuple[list[Any], list[str]]:
    """Return each entry of all panels' legends once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)


def sheet(
    images: Sequence[Sequence[NDArray[np.float32] | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Return grey images (height, width) in [0, 1] as a sheet with named rows and columns."""
    with sns.axes_style("white"), sns.plotting_context("notebook"):
        size = (1.15 * len(columns) + 1.2, 1.4 * len(rows) + 1.0)
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.subplots(len(rows), len(columns), squeeze=False)
        for line, row, name in zip(cells, images, rows, strict=True):
            for axes, image in zip(line, row, strict=True):
                axes.set(xticks=[], yticks=[])
                axes.set_frame_on(image is not None)
                if image is not None:
                    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            line[0].set_ylabel(name)
        for axes, name in zip(cells[0], columns, strict=True):
            axes.set_title(name, fontsize="small")
        figure.suptitle(title, fontsize="x-large", fontweight="bold")

    return figure


def points(
    table: pd.DataFrame,
    x: str,
    y: str,
    name: str,
    *,
    title: str,
    labels: Mapping[str, str],
    published: pd.DataFrame,
    hue: str | None = None,
) -> Figure:
    """Return a point for each row with its intervals and its ``name``, and the published as stars.

    Rows of the same ``hue`` have a colour and are joined; without one, all are. ``labels`` names
    the axes, column -> label.
    """
    groups = [("ours", table)] if hue is None else list(table.groupby(hue, sort=False))
    colours = mpl.colormaps[PALETTE](np.linspace(0, 0.6, len(groups)))

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(8.4, 5.4), layout="constrained")
        axes = figure.subplots()
        for side, ((group, rows), colour) in enumerate(zip(groups, colours, strict=True)):
            axes.plot(rows[x], rows[y], color=colour, linewidth=1, alpha=0.5, zorder=1)
            axes.errorbar(
                rows[x],
                rows[y],
                xerr=rows[f"{x}_pm"],
                yerr=rows[f"{y}_pm"],
                fmt="o",
                markersize=9,
                capsize=3,
                color=colour,
                label=str(group),
            )
            _name_points(axes, rows, (x, y, name), colour, left=bool(side % 2))
        axes.plot(published[x], published[y], color="crimson", linewidth=1, linestyle=":")
        axes.scatter(published[x], published[y], **PUBLISHED, label="published")
        axes.axhline(50, color="grey", linestyle=":", linewidth=1.2, zorder=0)
        axes.set(xlabel=labels[x], ylabel=labels[y])
        axes.margins(x=0.12, y=0.12)
        axes.legend(frameon=False)
        figure.suptitle(title, fontsize="x-large", fontweight="bold")

    return figure


def _name_points(
    axes: Axes, rows: pd.DataFrame, columns: tuple[str, str, str], colour: Any, *, left: bool
) -> None:
    """Write each row's name beside its point, alternately above and below; ``left`` aligned or not.

    ``columns`` are those of the two coordinates and of the name.
    """
    x, y, name = columns
    look: dict[str, Any] = {"color": colour, "ha": "left" if left else "right"}
    for i, row in enumerate(rows.to_dict("records")):
        place = (8 if left else -8, -16 if i % 2 else 8)
        axes.annotate(row[name], (row[x], row[y]), place, textcoords="offset points", **look)
