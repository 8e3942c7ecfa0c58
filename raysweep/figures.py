"""Tables -> figures. The only seaborn. Compute first, then draw: nothing is measured here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

LABELS = {
    "accuracy": "accuracy (validation)",
    "attack_auc": "attack AUC (0.5 = a guess)",
    "inversion_mse": "inversion MSE (higher = worse images)",
    "epsilon": "epsilon spent",
    "train_seconds": "training time (s)",
}
PALETTE = "viridis"
NO_DP = "#444444"
DOMINATED = 0.22


def pareto_front(
    trials: pd.DataFrame, front: pd.DataFrame, objectives: Mapping[str, str], *, title: str
) -> Figure:
    """Return the front in every pair of objectives.

    Dominated trials are pale, the undefended baseline is a star, epsilon is colour (grey without
    DP-SGD). Trials that may not stand on a front (collapsed, not converged) are left out.
    """
    drawn = trials.assign(on_front=trials["trial_id"].isin(front["trial_id"]))
    pairs = list(itertools.combinations(objectives, 2)) or [(next(iter(objectives)),) * 2]
    norm = _epsilon_norm(drawn["epsilon"])
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(4.6 * len(pairs) + 1.2, 5.4), layout="constrained")
        for axes, (x, y) in zip(np.atleast_1d(figure.subplots(1, len(pairs))), pairs, strict=True):
            _pair(axes, drawn, x, y, objectives, norm)
        axes_list = figure.axes
        if norm is not None:
            colours = mpl.cm.ScalarMappable(norm=norm, cmap=PALETTE)
            bar = figure.colorbar(colours, ax=axes_list, pad=0.01, fraction=0.03)
            bar.set_label("epsilon (smaller = more private)")
            bar.ax.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
            bar.ax.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        figure.suptitle(title, fontsize="x-large", fontweight="bold")
        columns = 4 if len(pairs) > 1 else 2
        figure.legend(
            handles=_legend(norm), loc="outside lower center", ncols=columns, frameon=False
        )
    return figure


def _epsilon_norm(epsilon: pd.Series[float]) -> LogNorm | None:
    finite = epsilon[np.isfinite(epsilon) & (epsilon > 0)]
    if finite.empty:
        return None
    low, high = float(finite.min()), float(finite.max())
    return LogNorm(low, high if high > low else low * 2)


def _pair(
    axes: Axes,
    drawn: pd.DataFrame,
    x: str,
    y: str,
    objectives: Mapping[str, str],
    norm: LogNorm | None,
) -> None:
    private = np.isfinite(drawn["epsilon"])
    is_baseline = drawn["number"] == 0
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
    star = {"marker": "*", "s": 380, "color": "crimson", "edgecolor": "black", "zorder": 4}
    if is_baseline.any():
        sns.scatterplot(drawn[is_baseline], x=x, y=y, ax=axes, legend=False, **star)
    axes.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(y, y))
    axes.locator_params(nbins=5)  # more would run into one another in a narrow panel
    if "attack_auc" in (x, y):
        line = axes.axvline if x == "attack_auc" else axes.axhline
        line(0.5, color="grey", linestyle=":", linewidth=1.2, zorder=1)
    _point_to_better(axes, objectives[x], objectives[y])


def _point_to_better(axes: Axes, x_direction: str, y_direction: str) -> None:
    """Name the corner that every trial would like to be in."""
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
        arrowprops={"arrowstyle": "->", "color": "seagreen", "linewidth": 1.5},
    )


def _legend(norm: LogNorm | None) -> list[Line2D]:
    colour = mpl.colormaps[PALETTE](0.6) if norm is not None else NO_DP
    entries: list[tuple[str, Any, dict[str, Any]]] = [
        ("undefended", "crimson", {"marker": "*", "markersize": 16}),
        ("front, DP-SGD", colour, {"marker": "o", "markersize": 9}),
        ("front, without DP", NO_DP, {"marker": "s", "markersize": 9}),
        ("dominated (pale)", colour, {"marker": "o", "markersize": 7, "alpha": 0.35}),
    ]
    return [
        Line2D([], [], color=c, label=label, linestyle="", markeredgecolor="black", **look)
        for label, c, look in entries
    ]


def best_by_loss(best: pd.DataFrame, by: str, objectives: list[str]) -> Figure:
    """Return each objective of the best configuration ``by`` a figure, against accuracy given up.

    ``best`` has one row for each ``accuracy_loss`` (a share), with the trial's figures.
    """
    shown = [name for name in objectives if name != "accuracy"] or ["accuracy"]
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(5.2 * len(shown), 4.4), layout="constrained")
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
            data = best.assign(points=100 * best["accuracy_loss"])
            sns.lineplot(data, x="points", y=name, drawstyle="steps-post", ax=axes, color="grey")
            sns.scatterplot(data, x="points", y=name, s=70, ax=axes, color="crimson", zorder=3)
            for _, row in data.drop_duplicates("trial_id").iterrows():
                epsilon = "no DP" if np.isinf(row["epsilon"]) else f"ε {row['epsilon']:.2g}"
                at, offset = (row["points"], row[name]), (6, 8)
                axes.annotate(epsilon, at, offset, textcoords="offset points", fontsize="small")
            axes.set(xlabel="accuracy given up (points)", ylabel=LABELS.get(name, name))
            axes.margins(x=0.08, y=0.15)
        figure.suptitle(f"Best configuration by {by}", fontsize="x-large", fontweight="bold")
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG, 150 dots an inch."""
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure))
    return path


def lines(table: pd.DataFrame, x: str, y: str, hue: str, *, title: str) -> Figure:
    """Return ``y`` against ``x`` as one line a ``hue``, a marker for each row."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(7.4, 5.0), layout="constrained")
        axes = figure.subplots()
        data = table.assign(**{hue: table[hue].fillna("-").astype(str)})
        sns.lineplot(data, x=x, y=y, hue=hue, style=hue, markers=True, dashes=False, ax=axes)
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
        figure.suptitle(title, fontsize="x-large", fontweight="bold")
    return figure


def bars(table: pd.DataFrame, by: str, columns: list[str], *, title: str) -> Figure:
    """Return a panel a column: a bar for each ``by`` with the half-width ``<column>_pm``."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(4.6 * len(columns), 4.6), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(columns), sharey=True))
        for axes, column in zip(panels, columns, strict=True):
            sns.barplot(table, x=column, y=by, ax=axes, color=mpl.colormaps[PALETTE](0.5))
            places = range(len(table))
            axes.errorbar(table[column], places, xerr=table[f"{column}_pm"], fmt="none", color="k")
            axes.set(xlabel=column.replace("_", " "), ylabel="")
        figure.suptitle(title, fontsize="x-large", fontweight="bold")
    return figure


def plain(text: object) -> str:
    """Return text that no renderer takes for a formula, short enough to be drawn."""
    told = "".join(c if c.isprintable() else " " for c in str(text)).replace("$", r"\$")
    return told if len(told) <= 44 else f"{told[:43]}…"


def against(
    drawn: pd.DataFrame, axis: str, objectives: list[str], *, is_log: bool | None = None
) -> Figure:
    """Return what trials reached at each value of ``axis``: a panel an objective, one over another.

    The line joins the medians of six equal shares of the trials. Values without a place (no DP, no
    L2 on a logarithmic axis) stand by themselves at the side. The axis is logarithmic when the
    values differ tenfold, unless ``is_log`` says.
    """
    x, is_log, aside = _places(drawn[axis], is_log)
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        size = (5.0, 2.5 * len(objectives) + 1.1)
        figure = Figure(figsize=size, layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(objectives), 1, sharex=True))
        for axes, name in zip(panels, objectives, strict=True):
            _against(axes, drawn, x, name, aside)
        last = panels[-1]
        if is_log:
            last.set_xscale("log")
            last.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        for place, label in aside.items():
            last.annotate(
                *(label, (place, 0), (0, -34)),
                xycoords=last.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                fontsize="small",
                fontweight="bold",
            )
        last.set_xlabel(plain(LABELS.get(axis, axis.replace("_", " "))), labelpad=18)
        figure.suptitle(plain(axis), fontsize="large", fontweight="bold")
        figure.legend(handles=_legend_against(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _places(
    values: pd.Series[Any], is_log: bool | None
) -> tuple[pd.Series[float], bool, dict[float, str]]:
    """Return where each value is drawn, whether the axis is logarithmic, and what stands aside."""
    if not pd.api.types.is_numeric_dtype(values):
        codes, names = pd.factorize(values.astype(str), sort=True)
        found = {float(place): plain(name) for place, name in enumerate(names)}
        return pd.Series(codes, index=values.index, dtype=float), False, found
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


def _against(
    axes: Axes, drawn: pd.DataFrame, x: pd.Series[float], y: str, aside: Mapping[float, str]
) -> None:
    ahead = drawn["on_front"].to_numpy()
    axes.scatter(x[~ahead], drawn[y][~ahead], color="#7a8ba6", s=26, alpha=0.45, linewidth=0)
    axes.scatter(x[ahead], drawn[y][ahead], color="#1b3a6b", s=46, edgecolor="white", zorder=3)
    free = pd.DataFrame({"x": x, "y": drawn[y]})[~x.isin(list(aside))].sort_values("x")
    shares = np.arange(len(free)) * min(6, max(1, len(free) // 3)) // max(1, len(free))
    middle = free.groupby(shares).median()
    axes.plot(middle["x"], middle["y"], color="crimson", marker="D", markersize=6, zorder=4)
    for place in aside:
        axes.plot([place], [drawn[y][x == place].median()], "D", color="crimson", zorder=4)
        axes.axvline(place, color="lightgrey", linewidth=8, alpha=0.5, zorder=0)
    axes.set_ylabel(LABELS.get(y, y).partition(" (")[0])
    if y == "attack_auc":
        axes.axhline(0.5, color="grey", linestyle=":", linewidth=1.2, zorder=1)


def _legend_against() -> list[Line2D]:
    dot: dict[str, Any] = {"marker": "o", "linestyle": ""}
    return [
        Line2D([], [], color="#7a8ba6", alpha=0.6, label="trial", **dot),
        Line2D([], [], color="#1b3a6b", label="on the front", **dot),
        Line2D([], [], color="crimson", marker="D", label="median"),
    ]


def curves(
    named: Mapping[str, tuple[Any, Any]], *, floor: float, xlabel: str, ylabel: str
) -> Figure:
    """Return receiver operating characteristics, logarithmic from ``floor``: name -> (x, y)."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(6.0, 5.6), layout="constrained")
        axes = figure.subplots()
        for (name, (x, y)), colour in zip(named.items(), _colours(len(named)), strict=True):
            axes.plot(np.maximum(x, floor), np.maximum(y, floor), color=colour, label=plain(name))
        axes.plot([floor, 1], [floor, 1], color="grey", linestyle=":", label="a guess")
        axes.set(xscale="log", yscale="log", xlim=(floor, 1), ylim=(floor, 1.05))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return figure


def by_layer(errors: pd.DataFrame, floors: Mapping[str, float]) -> Figure:
    """Return the error of each ``trial`` at each ``layer``, and the ``floors`` without a model."""
    order = list(dict.fromkeys(errors["layer"]))
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        size = (6.4, 5.2) if len(order) > 1 else (6.4, 1.9 + 0.45 * len(errors))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        (_layers if len(order) > 1 else _one_layer)(axes, errors, order)
        line = axes.axhline if len(order) > 1 else axes.axvline
        for (label, height), style in zip(floors.items(), ("--", ":"), strict=True):
            line(height, color="black", linestyle=style, label=label)
        figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return figure


def _layers(axes: Axes, errors: pd.DataFrame, order: list[str]) -> None:
    names = list(dict.fromkeys(errors["trial"]))
    for name, colour in zip(names, _colours(len(names)), strict=True):
        own = errors[errors["trial"] == name]
        x = [order.index(layer) for layer in own["layer"]]
        axes.plot(x, own["mse"], marker="o", markersize=8, color=colour, label=plain(name))
    axes.set_xticks(range(len(order)), [plain(layer) for layer in order])
    axes.tick_params(axis="x", rotation=45 if len(order) > 5 else 0)
    axes.set(xlabel="layer that the attacker sees", ylabel=LABELS["inversion_mse"])
    axes.set_ylim(bottom=0)


def _one_layer(axes: Axes, errors: pd.DataFrame, order: list[str]) -> None:
    places = range(len(errors))[::-1]
    axes.barh(places, errors["mse"], color=_colours(len(errors)), height=0.6)
    axes.set_yticks(places, [plain(name) for name in errors["trial"]])
    axes.set(xlabel=f"inversion MSE, from {plain(order[0])}")
    axes.grid(visible=False, axis="y")


def _colours(n: int) -> list[Any]:
    return list(sns.color_palette("colorblind", n))
