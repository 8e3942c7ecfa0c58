"""What a sweep claimed of its configurations beside what their confirmation found.

    DIR/confirm/confirmed.parquet: one row for each configuration

The claims are the best of many on the same examples, so that some are too good: the winner's curse.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raysweep.config import sub_seed
from raysweep.errors import StoreError
from raysweep.records.accuracy import accuracy_interval
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import OBJECTIVES, OF_MEMBERSHIP, is_of_membership, objective
from raysweep.records.pairs import Pairs
from raysweep.records.priors import prior_of
from raysweep.records.results import Results, records
from raysweep.records.store import Store
from raysweep.records.trial_config import (
    TrialConfig,
    setting,
    stored_settings,
    varied_keys,
)

FOLDER = "confirm"  # in the folder of the sweep

FILE = "confirmed.parquet"

ALWAYS = ("accuracy", "attack_auc", *(n for n in OF_MEMBERSHIP if n.startswith("tpr")))

OF_ATTACKS = {name: name for name in OF_MEMBERSHIP if name.startswith("tpr")} | {
    "attack_auc": "auc",
    "advantage": "advantage",
}
"""Figure -> the column of ``attacks`` that it is the most of."""

ENDS = ("", "_low", "_high")

PARTS = (
    *(f"{kind}{end}" for kind in ("claimed", "confirmed", "difference") for end in ENDS),
    *("again", "curse"),
)
"""What a row says of each figure, in columns such as ``accuracy_claimed_low``."""

_PLAIN = {
    "trial_id": pa.string(),
    "confirmed_trial_id": pa.string(),
    "is_baseline": pa.bool_(),
    "status": pa.string(),
    "collapsed": pa.bool_(),
    "epsilon": pa.float64(),
    "claimed_models": pa.int64(),
    "models": pa.int64(),
    "inversion_models": pa.int64(),
    "n_test": pa.int64(),
    "front_share": pa.float64(),
    "level": pa.float64(),
}
"""The columns that are of no figure."""


def figures_of(results: Results) -> list[str]:
    """Return the figures that a confirmation of a sweep compares: some always, and its objectives.

    Epsilon and seconds are none: epsilon is the same again, and no seconds are claimed.
    """
    others = filter(is_of_membership, results.objectives.names)
    return list(dict.fromkeys([*ALWAYS, "inversion_mse", *others]))


def compare(sweep: Results, again: Results) -> pd.DataFrame:
    """Return a row for each configuration of ``sweep`` with a record in ``again``, baseline first.

    ``FIGURE_difference`` is the confirmed figure less that of the baseline, pair by pair, with an
    interval at ``level``, which is corrected for the number of configurations.
    """
    figures = figures_of(sweep)
    trials = again.trials
    ok = trials[trials["status"] == "ok"]
    level = 1 - 0.05 / max(1, int((ok["number"] != BASELINE).sum()))
    claims = _claims(sweep, figures)
    pairs = Pairs(ok["trial_id"].tolist(), again.examples)
    shares = _shares(again, ok, pairs)
    baseline = next(iter(ok.loc[ok["number"] == BASELINE, "trial_id"]), None)
    alone = _of_one_model(again, figures)

    rows = []
    for row in records(trials.sort_values("number", kind="stable")):
        claim = claims.get(row["scenario"]) or claims.get(_baseline_of(row, claims), {})
        found: dict[str, Any] = {
            "trial_id": claim.get("trial_id"),
            "confirmed_trial_id": row["trial_id"],
            "is_baseline": row["number"] == BASELINE,
            "status": row["status"],
            "collapsed": row["collapsed"],
            **_settings(sweep, claim),
            "epsilon": row["epsilon"],
            "claimed_models": claim.get("models") or 1,
            "models": row["models"],
            "inversion_models": None if row["inversion_mse"] is None else _inverted(row),
            "n_test": row["n_test"],
            "front_share": shares.get(row["trial_id"]),
            "level": level,
        }
        for figure in figures:
            own = alone.get((row["trial_id"], figure))
            found |= _beside(figure, claim, row, own)
            if baseline not in (None, row["trial_id"]) and row["status"] == "ok":
                found |= _difference(pairs, row["trial_id"], str(baseline), figure, level)
        rows.append(found)
    return pd.DataFrame(rows).reindex(columns=_names(figures, rows))


def _inverted(row: Mapping[str, Any]) -> int:
    """Return how many models of a trial inversion was judged on."""
    measure = TrialConfig.from_json(row["config"]).measure
    return 1 if measure is None else measure.inversion_models


def _names(figures: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all columns, in their order."""
    parts = [f"{figure}_{part}" for figure in figures for part in PARTS]
    others = (name for row in rows for name in row if name not in parts)
    return list(dict.fromkeys([*others, *parts]))


def _claims(sweep: Results, figures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the figures of a sweep by trial id; of trials that differ in their seed the means."""
    ends = [f"{figure}{end}" for figure in figures for end in ENDS]
    extra = ("number", "config", "models", "n_validation")
    rows = records(sweep.compared([*ends, *extra]))
    return {str(row["trial_id"]): row for row in rows}


def _baseline_of(row: Mapping[str, Any], claims: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the trial of the sweep that a confirmed baseline is; "" for another trial."""
    if row["number"] != BASELINE:
        return ""
    return next((key for key, claim in claims.items() if claim["number"] == BASELINE), "")


def _settings(sweep: Results, claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return what varied in the sweep, with the values of one configuration."""
    stored = stored_settings(claim["config"]) if claim.get("config") else {}
    keys = [key for key in varied_keys(sweep.documents[0]) if key != "seed"]
    values = {key: setting(stored, key) for key in keys}
    return {k: str(v) if isinstance(v, list | dict) else v for k, v in values.items()}


def _beside(
    figure: str, claim: Mapping[str, Any], row: Mapping[str, Any], own: float | None
) -> dict[str, Any]:
    """Return a figure as claimed and as confirmed, and how much too good the claim was.

    ``own`` is the figure of one model alone. A claim of one model is compared with that: the
    others tell it nothing, and to measure more of a leak is no curse.
    """
    is_alike = not is_of_membership(figure) or (claim.get("models") or 1) > 1
    again = row[figure] if is_alike else own
    claimed = claim.get(figure)
    curse = None
    if again is not None and claimed is not None:
        sign = 1 if objective(figure).direction == "max" else -1
        curse = sign * (claimed - again)
    return {
        **_with_ends(f"{figure}_claimed", figure, claim),
        **_with_ends(f"{figure}_confirmed", figure, row),
        f"{figure}_again": again,
        f"{figure}_curse": curse,
    }


def _with_ends(name: str, figure: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a figure and the ends of its interval under another name."""
    values = [row.get(f"{figure}{end}") for end in ENDS]
    if figure == "accuracy" and row:
        exact = accuracy_interval(row)
        values = values if exact is None else list(exact)
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}


def _difference(
    pairs: Pairs, one: str, baseline: str, figure: str, level: float
) -> dict[str, float]:
    """Return the difference to the baseline with its interval; nothing where none is known."""
    gap = pairs.difference(one, baseline, figure, level=level)
    return {} if gap is None else gap.columns(f"{figure}_difference")


def _shares(again: Results, ok: pd.DataFrame, pairs: Pairs) -> dict[str, float]:
    """Return the share of resamples in which each eligible trial is not dominated."""
    among = again.objectives.eligible(ok).to_numpy(dtype=bool)
    if not among.any():
        return {}
    seed = sub_seed(int(ok["seed"].iloc[0]), "front")
    shares = pairs.shares_on_front(ok, again.objectives, among=among, seed=seed)
    return dict(zip(ok["trial_id"][among], shares[among].tolist(), strict=True))


def _of_one_model(again: Results, figures: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return the membership figures of the first model of each trial, of the attacks that count."""
    attacks = again.attacks
    alone = attacks[(attacks["models"] == 1) & (attacks["family"] == "membership")]
    texts = again.rows(["config"]).set_index("trial_id")["config"]
    found = {}
    for trial_id, rows in alone.groupby("trial_id"):
        config = TrialConfig.from_json(str(texts[trial_id])).attacks
        counted = rows[rows["attack"].isin(config.counted)]
        for figure in (name for name in figures if name in OF_ATTACKS):
            values = counted[OF_ATTACKS[figure]].dropna()
            is_mean = figure == "attack_auc" and config.attack_auc == "mean"
            if len(values):
                found[str(trial_id), figure] = float(values.mean() if is_mean else values.max())
    return found


def write_confirmed(sweep: Results, again: Results) -> pd.DataFrame:
    """Write the comparison into the folder of the confirmation, and return it."""
    rows = compare(sweep, again)
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    again.stores[0].folder.write_bytes(buffer.getvalue(), FILE)
    return rows


def read_confirmed(store: Store) -> pd.DataFrame | None:
    """Return the comparison in the folder of a sweep; None if it was not confirmed.

    Raises:
        StoreError: the file is damaged or raysweep did not write it.

    """
    try:
        content = store.folder.read_bytes(FOLDER, FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
        kinds = dict(_columns(table.schema.names))
        columns = [table[name].cast(kind) for name, kind in kinds.items()]
        frame: pd.DataFrame = pa.table(columns, names=list(kinds)).to_pandas()
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StoreError(
            f"{store.path}/{FOLDER}/{FILE} is damaged or raysweep did not write it ({reason})",
            remedy="remove it; raysweep confirm writes it again",
        ) from None
    return frame


def _columns(names: Sequence[str]) -> Iterator[tuple[str, pa.DataType]]:
    """Yield the columns of a comparison that a report reads, with their types."""
    yield from _PLAIN.items()
    for figure in figures_in(names):
        for part in PARTS:
            yield f"{figure}_{part}", pa.float64()


def figures_in(names: Sequence[str]) -> list[str]:
    """Return the figures that the columns of a comparison are of."""
    claimed = [name.removesuffix("_claimed") for name in names if name.endswith("_claimed")]
    at_priors = [name for name in claimed if prior_of(name) is not None]
    return [*(name for name in OBJECTIVES if name in claimed), *at_priors]


def beside_baseline(row: Mapping[str, Any], figure: str) -> str:
    """Return "better", "worse" or "" for what a confirmed figure is beside the baseline's.

    It is "" where the interval of the difference holds 0, and where none is known.
    """
    low, high = (row.get(f"{figure}_difference_{end}") for end in ("low", "high"))
    if low is None or high is None or not (low > 0 or high < 0):
        return ""
    return "better" if (low > 0) == (objective(figure).direction == "max") else "worse"


def mean_curses(rows: pd.DataFrame) -> dict[str, float]:
    """Return by how much the claims of the chosen configurations were too good, on average."""
    chosen = rows[~rows["is_baseline"].astype(bool)]
    means = {
        name: np.mean(chosen[f"{name}_curse"].dropna().to_numpy(dtype=float))
        for name in figures_in(list(rows.columns))
        if chosen[f"{name}_curse"].notna().any()
    }
    return {name: float(mean) for name, mean in means.items()}
