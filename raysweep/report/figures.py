"""Draw the front. Nothing is measured here."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raysweep.config.plain_text import counted
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import Objectives, is_objective, objective
from raysweep.records.results import Results

LABELS = {
    "attack_auc": "attack AUC (a guess: about 0.5)",
    "inversion_mse": "inversion MSE (higher = rebuilt worse)",
    "train_seconds": "training time (s)",
}


def label_of(name: str) -> str:
    """Return what an axis of a figure says of an objective or of a setting."""
    if name in LABELS:
        return LABELS[name]
    return objective(name).label if is_objective(name) else name.replace("_", " ")


PALETTE = "viridis"

NO_DP = "#444444"

DOMINATED = 0.22

MOST_INTERVALS = 60  # in a panel; more would hide the trials


def write_front(results: Results, front: pd.DataFrame, name: str) -> str | None:
    """Draw the front into the results folder; return the path, or None when it is empty."""
    if front.empty:
        return None
    trials = results.compared()
    drawn = trials[results.objectives.eligible(trials)]
    title = f"{name}: {len(front)} of {counted(len(trials), 'trial')} on the front"
    figure = pareto_front(drawn, front, results.objectives, title=title)

    store = results.stores[0]
    store.folder.write_bytes(png(figure), "front.png")
    return f"{store.path}/front.png"


def pareto_front(
    trials: pd.DataFrame, front: pd.DataFrame, objectives: Objectives, *, title: str
) -> Figure:
    """Return a figure of the front with a panel for each pair of objectives.

    Dominated trials are pale, the undefended baseline is a star, epsilon is colour (grey without
    DP-SGD). Trials that may not stand on a front (collapsed, not converged) are left out.
    """
    drawn = trials.assign(on_front=trials["trial_id"].isin(front["trial_id"]))
    names = objectives.names
    pairs = list(itertools.combinations(names, 2)) or [(names[0], names[0])]
    norm = _epsilon_norm(drawn["epsilon"])

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(4.6 * len(pairs) + 1.2, 5.4), layout="constrained")
        for axes, (x, y) in zip(np.atleast_1d(figure.subplots(1, len(pairs))), pairs, strict=True):
            _draw_pair(axes, drawn, x, y, norm)

        if norm is not None:
            colours = mpl.cm.ScalarMappable(norm=norm, cmap=PALETTE)
            bar = figure.colorbar(colours, ax=figure.axes, pad=0.01, fraction=0.03)
            bar.set_label("epsilon (smaller = more private)")
            _label_ends(bar, drawn["epsilon"])

        figure.suptitle(title, fontsize="x-large", fontweight="bold")
        columns = 4 if len(pairs) > 1 else 2
        figure.legend(
            handles=_legend(drawn, norm), loc="outside lower center", ncols=columns, frameon=False
        )
    return figure


def _label_ends(bar: Colorbar, epsilon: pd.Series[float]) -> None:
    """Label the least and the largest finite epsilon on a colour bar, and two between them."""
    finite = epsilon[np.isfinite(epsilon) & (epsilon > 0)]
    ticks = np.unique(np.geomspace(finite.min(), finite.max(), 4))
    bar.set_ticks(ticks.tolist(), labels=[f"{tick:.3g}" for tick in ticks])
    bar.ax.minorticks_off()


class PlainLog(mpl.ticker.LogFormatter):
    """Labels of a logarithmic axis as plain numbers, such as 6 and not 6 x 10^0."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick, empty where labels would be too many."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def use_log_scale(axes: Axes, name: str) -> None:
    """Make the axis "x" or "y" logarithmic, with plain numbers for labels."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_formatter(PlainLog())
    axis.set_minor_formatter(PlainLog())


def _epsilon_norm(epsilon: pd.Series[float]) -> LogNorm | None:
    finite = epsilon[np.isfinite(epsilon) & (epsilon > 0)]
    if finite.empty:
        return None
    low, high = float(finite.min()), float(finite.max())
    return LogNorm(low, high if high > low else low * 2)


def _draw_pair(
    axes: Axes,
    drawn: pd.DataFrame,
    x: str,
    y: str,
    norm: LogNorm | None,
) -> None:
    """Draw the trials in two objectives: dominated ones pale, the baseline as a star."""
    private = np.isfinite(drawn["epsilon"])
    is_baseline = drawn["number"] == BASELINE
    for on_front in (False, True):
        look: dict[str, Any] = {
            "alpha": 1.0 if on_front else DOMINATED,
            "zorder": 3 if on_front else 2,
        }
        look |= {"s": 80 if on_front else 45, "linewidth": 0.8 if on_front else 0}
        look |= {"edgecolor": "black", "legend": False, "ax": axes, "x": x, "y": y}
        chosen = (drawn["on_front"] == on_front) & ~is_baseline
        with_dp, without = drawn[chosen & private], drawn[chosen & ~private]
        if len(with_dp):
            sns.scatterplot(with_dp, hue="epsilon", hue_norm=norm, palette=PALETTE, **look)
        if len(without):
            sns.scatterplot(without, color=NO_DP, marker="s", **look)

    _draw_intervals(axes, drawn[drawn["on_front"] | is_baseline], x, y)
    star = {"marker": "*", "s": 380, "color": "crimson", "edgecolor": "black", "zorder": 4}
    if is_baseline.any():
        sns.scatterplot(drawn[is_baseline], x=x, y=y, ax=axes, legend=False, **star)
    axes.set(xlabel=label_of(x), ylabel=label_of(y))
    # Epsilon is on a log scale. On the other axes, more ticks would overlap in a narrow panel.
    if x == "epsilon" and _epsilon_norm(drawn[x]) is not None:
        use_log_scale(axes, "x")
    else:
        axes.locator_params("x", nbins=5)
    if y == "epsilon" and _epsilon_norm(drawn[y]) is not None:
        use_log_scale(axes, "y")
    else:
        axes.locator_params("y", nbins=5)

    if "attack_auc" in (x, y):
        line = axes.axvline if x == "attack_auc" else axes.axhline
        line(0.5, color="grey", linestyle=":", linewidth=1.2, zorder=1)
    _point_to_better(axes, objective(x).direction, objective(y).direction)


def _draw_intervals(axes: Axes, shown: pd.DataFrame, x: str, y: str) -> None:
    """Draw the intervals of the objectives that have columns for their two ends."""
    bars = {}
    for side, name in (("xerr", x), ("yerr", y)):
        if f"{name}_low" in shown:
            low, high = shown[f"{name}_low"].astype(float), shown[f"{name}_high"].astype(float)
            ends = np.stack([shown[name] - low, high - shown[name]])
            bars[side] = np.clip(np.nan_to_num(ends), 0, None)
    if bars and len(shown) <= MOST_INTERVALS:
        axes.errorbar(
            shown[x], shown[y], **bars, fmt="none", ecolor="#9aa3b2", elinewidth=1, zorder=1.5
        )


def _point_to_better(axes: Axes, x_direction: str, y_direction: str) -> None:
    """Mark the corner of the panel that is best in both objectives."""
    right, up = x_direction == "max", y_direction == "max"
    axes.annotate(
        "better",
        xy=(0.98 if right else 0.02, 0.98 if up else 0.02),
        xytext=(0.82 if right else 0.18, 0.86 if up else 0.14),
        xycoords="axes fraction",
        textcoords="axes fraction",
        ha="center",
        va="center",
        color="seagreen",
        fontsize="small",
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"},
        arrowprops={"arrowstyle": "->", "color": "seagreen", "linewidth": 1.5},
    )


def _legend(drawn: pd.DataFrame, norm: LogNorm | None) -> list[Line2D]:
    """Return an entry for each kind of trial that is drawn."""
    colour = mpl.colormaps[PALETTE](0.6) if norm is not None else NO_DP
    is_baseline, private = drawn["number"] == BASELINE, np.isfinite(drawn["epsilon"])
    on_front = drawn["on_front"] & ~is_baseline
    entries: list[tuple[Any, str, Any, dict[str, Any]]] = [
        (is_baseline, "undefended", "crimson", {"marker": "*", "markersize": 16}),
        (on_front & private, "front, DP-SGD", colour, {"marker": "o", "markersize": 9}),
        (on_front & ~private, "front, without DP", NO_DP, {"marker": "s", "markersize": 9}),
        (
            ~drawn["on_front"] & ~is_baseline,
            "dominated (pale)",
            colour,
            {"marker": "o", "markersize": 7, "alpha": 0.35},
        ),
    ]
    return [
        Line2D([], [], color=c, label=label, linestyle="", markeredgecolor="black", **look)
        for is_drawn, label, c, look in entries
        if is_drawn.any()
    ]


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG with 150 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure))
    return path
