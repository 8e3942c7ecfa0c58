"""Show what a sweep claimed beside what its confirmation found: sentences, cells and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raysweep.config.plain_text import counted
from raysweep.records.confirmed import beside_baseline, figures_in, mean_curses
from raysweep.records.objectives import Objectives, is_of_membership, objective
from raysweep.records.results import records
from raysweep.report.comparison import with_interval

MOST_DRAWN = 40  # configurations of a figure

CLAIMED, CONFIRMED = "#9aa3b2", "#1b6ca8"

CONFIRMED_HEADING = "confirmed [95 %]"

MARKS = {"better": " +", "worse": " -", "": ""}


def shown_figures(rows: pd.DataFrame, objectives: Objectives) -> list[str]:
    """Return the figures of a table: the objectives that were confirmed."""
    known = figures_in(list(rows.columns))
    return [name for name in objectives.names if name in known]


def headings(figures: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """Return the headings of a table of :func:`cells`; ``labels`` are those of claimed figures."""
    pairs = ((labels.get(name, objective(name).label), CONFIRMED_HEADING) for name in figures)
    return ["trial", "epsilon", *(heading for pair in pairs for heading in pair), "stays"]


def cells(rows: pd.DataFrame, figures: Sequence[str]) -> list[list[str]]:
    """Return the cells of a table, a row a configuration: claimed and confirmed figures."""
    return [_cells(row, figures) for row in records(rows)]


def _cells(row: Mapping[str, Any], figures: Sequence[str]) -> list[str]:
    """Return the cells of one configuration; a mark says what it is beside the baseline."""
    parts = [_name(row), "-" if row["epsilon"] is None else f"{row['epsilon']:.3g}"]
    for figure in figures:
        digits = 4 if figure == "inversion_mse" else 3
        claimed = row[f"{figure}_claimed"]
        value, low, high = (row[f"{figure}_confirmed{end}"] for end in ("", "_low", "_high"))
        ends = None if low is None or high is None else (low, high)
        confirmed = with_interval(value, ends, digits, fewer=1) or row["status"]
        parts.append("-" if claimed is None else f"{claimed:.{digits}f}")
        parts.append(confirmed + MARKS[beside_baseline(row, figure)])
    share = row["front_share"]
    return [*parts, "-" if share is None else f"{100 * share:.0f} %"]


def _name(row: Mapping[str, Any]) -> str:
    if row["is_baseline"]:
        return "baseline"
    return str(row["trial_id"] or row["confirmed_trial_id"])[:8]


def sentences(rows: pd.DataFrame) -> list[str]:
    """Return what a reader must know of a comparison, and what it shows, as sentences."""
    finished = rows[rows["status"] == "ok"]
    if finished.empty:
        return ["No configuration could be measured again."]
    n = int((~finished["is_baseline"].astype(bool)).sum())
    models, n_test = int(finished["models"].max()), int(finished["n_test"].max())
    lines = [
        f"Each configuration was measured again on {counted(models, 'fresh model')}, and its "
        f"accuracy on {counted(n_test, 'example')} of the test split."
    ]
    lines += [*_curses(rows), *_stronger(finished), *_told_apart(finished, n)]
    lines.append(
        "Stays: the share of resamples of models and examples in which no other of these "
        "configurations dominates it."
    )
    inverted = finished["inversion_models"].max()
    if inverted >= 1:
        lines.append(
            f"Inversion was judged on {counted(int(inverted), 'model')} of each configuration."
        )
    return lines


def _curses(rows: pd.DataFrame) -> list[str]:
    """Return by how much the claims were too good, on average over the configurations."""
    means = mean_curses(rows)
    parts = [
        f"{objective(name).label} {abs(mean):.{4 if name == 'inversion_mse' else 3}f} too "
        f"{'bad' if mean < 0 else 'good'}"
        for name, mean in means.items()
    ]
    if not parts:
        return []
    return [
        "Winner's curse: a claim is the best of many on the same examples. Against the same figure "
        f"measured again, the claims were on average: {', '.join(parts)}."
    ]


def _stronger(finished: pd.DataFrame) -> list[str]:
    """Return why more is found than claims of fewer models said."""
    known = [name for name in figures_in(list(finished.columns)) if is_of_membership(name)]
    is_measured = any(finished[f"{name}_confirmed"].notna().any() for name in known)
    claimed, models = int(finished["claimed_models"].min()), int(finished["models"].max())
    if not is_measured or claimed >= models:
        return []
    if claimed > 1:
        return [
            f"Membership was claimed of {claimed} models and is confirmed of {models}: attacks "
            "with more references find more, so that a part of those differences is no curse."
        ]
    return [
        "Membership was claimed of one model and is confirmed of many, each attacked with the "
        "others as references: more is found, which is no curse."
    ]


def _told_apart(finished: pd.DataFrame, n: int) -> list[str]:
    """Return what the marks + and - mean, and how many configurations have one."""
    if n == 0 or not finished["is_baseline"].astype(bool).any():
        return []
    return [
        "+ is better and - worse than the undefended baseline: the interval of the difference, by "
        f"pair of models and by example, excludes 0 at 1 - 0.05 / {n} for "
        f"{counted(n, 'configuration')}."
    ]


def figure(rows: pd.DataFrame, figures: Sequence[str]) -> Figure:
    """Return a figure with a panel for each of ``figures``: claimed and confirmed, with intervals.

    Configurations are sorted by their confirmed accuracy; at most MOST_DRAWN are drawn, evenly
    spread over that order.
    """
    finished = rows[rows["status"] == "ok"].sort_values("accuracy_confirmed", ignore_index=True)
    n = min(len(finished), MOST_DRAWN)
    drawn = finished.iloc[np.unique(np.linspace(0, len(finished) - 1, n).round().astype(int))]

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        size = (4.6 * len(figures) + 1.4, 1.8 + 0.34 * len(drawn))
        whole = Figure(figsize=size, layout="constrained")
        panels = np.atleast_1d(whole.subplots(1, len(figures), sharey=True))
        for axes, name in zip(panels, figures, strict=True):
            _draw(axes, drawn, name)
        panels[0].set_yticks(range(len(drawn)), [_name(row) for row in records(drawn)])
        panels[0].set_ylim(-0.7, len(drawn) - 0.3)
        handles, labels = panels[0].get_legend_handles_labels()
        whole.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return whole


def _draw(axes: Axes, drawn: pd.DataFrame, name: str) -> None:
    """Draw one figure of all configurations: the claim above, the confirmed one below it."""
    looks: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
        ("claimed", CLAIMED, 0.14, {"marker": "o", "markerfacecolor": "white"}),
        ("confirmed", CONFIRMED, -0.14, {"marker": "o"}),
    )
    for kind, colour, shift, look in looks:
        value, low, high = (
            drawn[f"{name}_{kind}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high")
        )
        bars = np.clip(np.nan_to_num(np.stack([value - low, high - value])), 0, None)
        heights = np.arange(len(drawn)) + shift
        axes.errorbar(value, heights, xerr=bars, fmt="none", ecolor=colour, elinewidth=1.4)
        axes.plot(value, heights, linestyle="", color=colour, label=kind, **look)

    better = "more" if objective(name).direction == "max" else "less"
    axes.set_xlabel(f"{objective(name).label} ({better} is better)")
    axes.locator_params("x", nbins=5)
    if name == "attack_auc":
        axes.axvline(0.5, color="grey", linestyle=":", linewidth=1.2, zorder=1)


def description(rows: pd.DataFrame, figures: Sequence[str]) -> str:
    """Return what the figure shows in words."""
    parts = []
    for name in figures:
        values = rows[f"{name}_confirmed"].dropna()
        if len(values):
            label = objective(name).label
            parts.append(f"{label} from {values.min():.3g} to {values.max():.3g}")
    n = counted(len(rows), "configuration")
    return f"Claimed and confirmed figures of {n}, with intervals. Confirmed: {', '.join(parts)}."
