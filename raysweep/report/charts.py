"""Draw the report's figures of the effect of each setting and of the results of the attacks.

Names in the records may come from a stranger, so :func:`plain` keeps matplotlib from reading them
as formulas.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from raysweep.report.figures import LABELS, label_of, use_log_scale
from raysweep.report.findings import BEST_WITH_DP, RECOMMENDED, UNDEFENDED, has_role

MEDIANS = {"without DP": ("black", "s"), "DP-SGD": ("#b86e00", "o")}
"""Kind of trial -> the colour of its medians and the marker of its trials."""

LEAST_OF_MEDIAN = 5  # trials, of fewer no median is drawn

COLOURS = {
    "most accurate": "#0173b2",
    RECOMMENDED: "#027a56",
    "hardest to rebuild": "#6b3fb0",
    BEST_WITH_DP: "#b86e00",
}
"""Role of a trial -> its colour on the whole page."""

UNDEFENDED_COLOURS = ("#dc143c", "#7a0019", "#ff6f7d", "#a8485a")  # of several sweeps


def colours(names: Collection[str]) -> dict[str, str]:
    """Return the colour of each trial that the page names, by the first role in its name."""
    undefended = itertools.cycle(UNDEFENDED_COLOURS)
    return {
        name: next(undefended)
        if has_role(name, UNDEFENDED)
        else next((colour for role, colour in COLOURS.items() if has_role(name, role)), "#56607a")
        for name in names
    }


def plain(text: object, most: int = 60) -> str:
    """Return text that matplotlib does not read as a formula, cut to at most ``most`` letters."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    short = printable if len(printable) <= most else f"{printable[: most - 1]}…"
    return short.replace("$", r"\$")


def by_setting(
    drawn: pd.DataFrame, axis: str, objectives: list[str], *, is_log: bool | None = None
) -> Figure:
    """Return each objective at the values of ``axis``, one panel above the other.

    A line joins the medians of up to six equal shares of the trials with DP-SGD, and one those of
    the others; of fewer than five trials no median is drawn. Values that have no place on the axis
    (no DP, or no L2 on a logarithmic axis) are drawn at its side. Without ``is_log`` the axis
    is logarithmic when the values differ tenfold.
    """
    x, is_log, aside = _places(drawn[axis], is_log)

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        size = (5.0, 2.5 * len(objectives) + 1.1)
        figure = Figure(figsize=size, layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(objectives), 1, sharex=True))
        for axes, name in zip(panels, objectives, strict=True):
            _draw_panel(axes, drawn, x, name, aside)

        last = panels[-1]
        if is_log:
            use_log_scale(last, "x")
        _tick_only_values(last, x[~x.isin(list(aside))], aside)
        for place, label in aside.items():
            last.annotate(
                label,
                xy=(place, 0),
                xytext=(0, -16),
                xycoords=last.get_xaxis_transform(),
                textcoords="offset points",
                ha="right" if len(aside) > 4 else "center",
                rotation=30 if len(aside) > 4 else 0,
                fontsize="small",
                fontweight="bold",
            )

        last.set_xlabel(plain(label_of(axis)), labelpad=18)
        figure.suptitle(plain(axis), fontsize="large", fontweight="bold")
        legend = _legend(kinds_of(drawn))
        figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    return figure


def kinds_of(drawn: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return which trials are with and which without DP-SGD, for each kind that there is."""
    private = np.isfinite(drawn["epsilon"].to_numpy(dtype=float, na_value=np.inf))
    kinds = {"without DP": ~private, "DP-SGD": private}
    return {name: mask for name, mask in kinds.items() if mask.any()}


def _tick_only_values(axes: Axes, placed: pd.Series[float], aside: Mapping[float, str]) -> None:
    """Leave no tick of a number at the side, where its label would meet that of the side."""
    if not aside:
        return
    limits = axes.get_xlim()
    for minor in (False, True):
        ticks = [t for t in axes.get_xticks(minor=minor) if placed.min() <= t <= placed.max()]
        axes.set_xticks(ticks, minor=minor)
    axes.set_xlim(limits)


def _places(
    values: pd.Series[Any], is_log: bool | None
) -> tuple[pd.Series[float], bool, dict[float, str]]:
    """Return the place of each value, whether the axis is logarithmic, and the labels aside."""
    if not pd.api.types.is_numeric_dtype(values):
        codes, names = pd.factorize(values.astype(str), sort=True)
        labels = {float(place): plain(name, 18) for place, name in enumerate(names)}
        return pd.Series(codes, index=values.index, dtype=float), False, labels

    values = values.astype(float)
    usual = values[np.isfinite(values) & (values > 0)]
    low, high = (float(usual.min()), float(usual.max())) if len(usual) else (1.0, 1.0)
    is_log = high > 10 * low if is_log is None else is_log and high > low

    step = (high / low) ** 0.13 if is_log else 0.13 * (high - low)
    right, left = (high * step, low / step) if is_log else (high + (step or 1.0), 0.0)

    x = values.where(np.isfinite(values), right)
    aside = {} if np.isfinite(values).all() else {right: "off"}
    if is_log and (values <= 0).any():
        x, aside = x.where(values > 0, left), aside | {left: "off"}
    return x, is_log, aside


def _draw_panel(
    axes: Axes, drawn: pd.DataFrame, x: pd.Series[float], y: str, aside: Mapping[float, str]
) -> None:
    """Draw the trials of one objective, their medians, and the values at the side."""
    on_front = drawn["on_front"].to_numpy()
    pale: dict[str, Any] = {"color": "#7a8ba6", "s": 26, "alpha": 0.45, "linewidth": 0}
    dark: dict[str, Any] = {"color": "#1b3a6b", "s": 46, "edgecolor": "white", "zorder": 3}
    for kind, is_kind in kinds_of(drawn).items():
        colour, marker = MEDIANS[kind]
        for is_drawn, look in ((is_kind & ~on_front, pale), (is_kind & on_front, dark)):
            axes.scatter(x[is_drawn], drawn[y][is_drawn], marker=marker, **look)
        points = pd.DataFrame({"x": x, "y": drawn[y]})[is_kind]
        is_aside = points["x"].isin(list(aside))
        line = _medians(points[~is_aside])
        axes.plot(line["x"], line["y"], color=colour, marker="D", markersize=6, zorder=4)
        for _, at_side in points[is_aside].groupby("x"):
            if len(at_side) >= LEAST_OF_MEDIAN:
                axes.plot(*at_side.median(), "D", color=colour, zorder=4)
    for place in aside:
        axes.axvline(place, color="lightgrey", linewidth=8, alpha=0.5, zorder=0)

    axes.set_ylabel(label_of(y).partition(" (")[0])
    if y == "epsilon":
        use_log_scale(axes, "y")
    if y == "attack_auc":
        axes.axhline(0.5, color="grey", linestyle=":", linewidth=1.2, zorder=1)


def _medians(points: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of up to six equal shares of the points, each of at least five."""
    placed = points.sort_values("x")
    n_shares = min(6, len(placed) // LEAST_OF_MEDIAN)
    shares = np.arange(len(placed)) * n_shares // max(1, len(placed))
    return placed.groupby(shares).median().head(n_shares)


def _legend(kinds: Mapping[str, NDArray[np.bool_]]) -> list[Line2D]:
    """Return an entry for each kind of trial, for the front, and for each kind's medians."""
    dot: dict[str, Any] = {"linestyle": "", "markersize": 7}
    entries = [
        Line2D([], [], color="#7a8ba6", marker=MEDIANS[kind][1], label=f"{kind} (pale)", **dot)
        for kind in kinds
    ]
    entries.append(Line2D([], [], color="#1b3a6b", marker="o", label="on the front (dark)", **dot))
    entries += [
        Line2D([], [], color=MEDIANS[kind][0], marker="D", label=f"median, {kind}")
        for kind, is_kind in kinds.items()
        if is_kind.sum() >= LEAST_OF_MEDIAN
    ]
    return entries


def rocs(
    named: Mapping[str, tuple[Any, Any]],
    bands: Mapping[str, tuple[Any, Any, Any]],
    colours: Mapping[str, str],
    *,
    floor: float,
    xlabel: str,
    ylabel: str,
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
) -> Figure:
    """Return ROC curves, name -> (x, y), on logarithmic axes that begin at ``floor``.

    ``bands`` are name -> (x, lower end, upper end), and ``colours`` has the colour of each name.
    ``bounds`` are curves that no attacker exceeds.
    """
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(6.0, 5.6), layout="constrained")
        axes = figure.subplots()
        for name, (x, y) in named.items():
            x, y = np.maximum(x, floor), np.maximum(y, floor)
            axes.plot(x, y, color=colours[name], label=plain(name))
            x, low, high = bands[name]
            low = np.maximum(low, floor)
            axes.fill_between(x, low, high, color=colours[name], alpha=0.1, linewidth=0)
        for name, (x, y) in (bounds or {}).items():
            label = f"no attacker exceeds ({plain(name.partition(':')[0])})"
            axes.plot(x, y, color=colours[name], linestyle="--", label=label)
        axes.plot([floor, 1], [floor, 1], color="grey", linestyle=":", label="a guess")
        for axis in ("x", "y"):
            use_log_scale(axes, axis)
        axes.set(xlim=(floor, 1), ylim=(floor, 1.05))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return figure


def by_layer(
    errors: pd.DataFrame, floors: Mapping[str, float], colours: Mapping[str, str]
) -> Figure:
    """Return the error of each ``trial`` at each ``layer``, and the ``floors`` without a model.

    ``colours`` has the colour of each trial.
    """
    order = list(dict.fromkeys(errors["layer"]))
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        size = (6.4, 5.2) if len(order) > 1 else (6.4, 1.9 + 0.45 * len(errors))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        has_layers = len(order) > 1
        if has_layers:
            _draw_layers(axes, errors, order, colours)
        else:
            _draw_one_layer(axes, errors, order, colours)

        draw_floor = axes.axhline if has_layers else axes.axvline
        for (label, height), style in zip(floors.items(), ("--", ":"), strict=True):
            draw_floor(height, color="black", linestyle=style, label=label)

        # The limit is set last, so that the floors are within the axes.
        if has_layers:
            axes.set_ylim(bottom=0)
        else:
            axes.set_xlim(left=0)
        figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return figure


def _draw_layers(
    axes: Axes, errors: pd.DataFrame, order: list[str], colours: Mapping[str, str]
) -> None:
    for name in dict.fromkeys(errors["trial"]):
        rows = errors[errors["trial"] == name]
        x = [order.index(layer) for layer in rows["layer"]]
        axes.plot(x, rows["mse"], marker="o", markersize=8, color=colours[name], label=plain(name))
    axes.set_xticks(range(len(order)), [plain(layer, 18) for layer in order])
    axes.tick_params(axis="x", rotation=45 if len(order) > 5 else 0)
    axes.set(xlabel="layer that the attacker sees", ylabel=LABELS["inversion_mse"])


def _draw_one_layer(
    axes: Axes, errors: pd.DataFrame, order: list[str], colours: Mapping[str, str]
) -> None:
    places = range(len(errors))[::-1]
    axes.barh(places, errors["mse"], color=errors["trial"].map(colours), height=0.6)
    axes.set_yticks(places, [plain(name) for name in errors["trial"]])
    axes.set(xlabel=f"inversion MSE, from {plain(order[0])}")
    axes.locator_params("x", nbins=4)
    axes.grid(visible=False, axis="y")
