"""Figures of a paper's table from records: changes against the baseline, means, intervals.

A trial is paired with the baseline (every defence neutral) of the same data set, model and seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from raysweep import defences
from raysweep.errors import StoreError
from raysweep.records.results import Results

PAIR = ["dataset", "model", "seed"]


def trial_table(results: Results) -> pd.DataFrame:
    """Return the finished trials with every attack's figures as ``figure_attack`` columns.

    Inversion figures are named ``figure_attack_layer``, such as ``mse_activation_decoder_dense``.
    """
    trials = results.trials
    trials = trials[trials["status"] == "ok"].reset_index(drop=True)
    attacks = results.attacks
    where = attacks["attack"] + attacks["layer"].map(
        lambda x: f"_{x}" if isinstance(x, str) else ""
    )
    figures = [c for c in attacks.select_dtypes("number").columns if attacks[c].notna().any()]
    wide = attacks.assign(where=where).pivot_table(
        index="trial_id", columns="where", values=figures
    )
    wide.columns = ["_".join(names) for names in wide.columns.to_flat_index()]
    return trials.merge(wide.reset_index(), on="trial_id", how="left")


def add_changes(
    table: pd.DataFrame, figures: Sequence[str], *, scenario: str | None = None
) -> pd.DataFrame:
    """Return ``table`` with ``change_<figure>``: (figure - baseline) / mean baseline, a share.

    Differences are those to the paired baseline (or the trial of ``scenario``); they are divided by
    its mean over the seeds, so that one seed whose baseline is near zero does not decide. A trial
    whose baseline is missing has no change. The relative accuracy drop (RAD) is -change_accuracy.

    Raises:
        StoreError: no baseline at all.

    """
    is_baseline = is_neutral(table) if scenario is None else table["scenario"] == scenario
    baseline = table[is_baseline].drop_duplicates(PAIR)
    if baseline.empty:
        raise StoreError("there is no finished baseline to compare with; run the sweep further")
    paired = table[PAIR].merge(baseline[[*PAIR, *figures]], on=PAIR, how="left")
    place = [key for key in PAIR if key != "seed"]
    means = table[place].merge(baseline.groupby(place)[list(figures)].mean(), on=place, how="left")
    changes = {
        f"change_{figure}": (table[figure].to_numpy() - paired[figure].to_numpy())
        / means[figure].to_numpy()
        for figure in figures
    }
    return table.assign(**changes)


def is_neutral(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which trials have every defence off: the baselines that papers' tables compare with.

    A sweep has one baseline, its first trial. A paper's sweep also varies the data set, the model
    and the seed, so its tables need a trial without defences for each combination of them.
    """
    off = np.isinf(table["target_epsilon"].to_numpy(dtype=float))
    off &= table["noise_multiplier"].fillna(0).to_numpy(dtype=float) == 0
    for key, value in defences.neutral().items():
        if key != "epsilon" and key in table and is_strength(key):
            off &= (table[key] == value).to_numpy()
    return pd.Series(off, index=table.index)


def is_strength(key: str) -> bool:
    """Return whether a defence's key is its strength, not another parameter."""
    return any(key == dataclasses.fields(kind)[0].name for kind in defences.DEFENCES)


def summary(table: pd.DataFrame, by: Sequence[str], figures: Sequence[str]) -> pd.DataFrame:
    """Return one row a group: for each figure its mean, the half-width of its 95 % interval; n.

    The interval is Student's over the trials of the group; nan for fewer than two.
    """
    rows: list[dict[str, Any]] = []
    for key, group in table.groupby(list(by), sort=False, dropna=False):
        row = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        most = 0
        for figure in figures:
            mean, half, n = mean_interval(group[figure])
            row |= {figure: mean, f"{figure}_pm": half}
            most = max(most, n)
        row["n"] = most
        rows.append(row)
    return pd.DataFrame(rows)


def mean_interval(values: pd.Series[float]) -> tuple[float, float, int]:
    """Return the mean, the half-width of its 95 % interval (Student's t), and n.

    The half-width is nan for fewer than two values, and for infinite ones.

    >>> mean, half, n = mean_interval(pd.Series([1.0, 2.0, 3.0]))
    >>> mean, round(half, 3), n
    (2.0, 2.484, 3)
    """
    from scipy.stats import t

    x = values.dropna().to_numpy(dtype=float)
    if len(x) < 2 or not np.isfinite(x).all():
        return (float(x[0]) if len(x) else float("nan")), float("nan"), len(x)
    half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return float(x.mean()), float(half), len(x)


def best_within(table: pd.DataFrame, by: str, figure: str, drop: float) -> pd.DataFrame:
    """Return for each ``by`` the row of least ``figure`` whose accuracy fell by at most ``drop``.

    ``table`` has ``change_accuracy``; a group that costs more at every strength has no row.
    """
    fit = table[table["change_accuracy"] >= -drop]
    return fit.loc[fit.groupby(by, sort=False)[figure].idxmin()]


def compare(ours: float, published: float | None, pm: float = float("nan"), unit: str = "") -> str:
    """Return ``ours | published | difference`` as text; ``pm`` is the half-width of ours.

    >>> compare(95.84, 83.0, 1.2, " %")
    '95.8 ± 1.2 % | 83 % | +12.8 %'
    """
    spread = "" if np.isnan(pm) else f" ± {pm:.3g}"
    if np.isnan(ours):
        return f"not run | {'-' if published is None else f'{published:g}{unit}'} | -"
    if published is None:
        return f"{ours:.3g}{spread}{unit} | - | -"
    return f"{ours:.3g}{spread}{unit} | {published:g}{unit} | {ours - published:+.3g}{unit}"
