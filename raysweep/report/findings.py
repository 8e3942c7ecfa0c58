"""The statements of the report about the records, as sentences and lists without markup."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml

from raysweep import defences
from raysweep.config import from_plain
from raysweep.config.own_class import is_own_key, reference_of
from raysweep.config.plain_text import counted
from raysweep.config.user_function import is_reference
from raysweep.data import SPLITS
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import OF_MEMBERSHIP
from raysweep.records.results import Results, records
from raysweep.records.standing import Standing
from raysweep.records.trial_config import setting, varied_keys

COLUMNS = (
    "error",
    "scenario",
    "target_epsilon",
    "delta",
    "accountant",
    "neighbours",
    "noise_multiplier",
    "sample_rate",
    "steps",
    "clipping",
    "max_grad_norm",
    "group_records",
    "epsilon_per_group",
    "seed",
    "attempts",
    "versions",
    "device",
    "node",
    "split",
    "split_hash",
    "started_at",
    "attack_seconds",
    *(f"n_{name}" for name in SPLITS),
    "models",
    "accuracy_on",
    "accuracy_low",
    "accuracy_high",
    *(f"{name}_{end}" for name in (*OF_MEMBERSHIP, "inversion_mse") for end in ("low", "high")),
    "attack_auc_null",
    "attack_auc_null_high",
    "inversion_mse_nonmembers",
    "inversion_floor_label",
    "strongest_attack",
)
"""The columns read of every trial, besides those that decide the front and those that varied."""

NEAR = 0.05
"""How much accuracy below the best on the front counts as little to give up."""

UNDEFENDED, RECOMMENDED = "undefended", "recommended"

BEST_WITH_DP = "most accurate with DP-SGD"

MOST_BASELINES = 4  # undefended trials of joined sweeps that are named

Row = Mapping[str, Any]


def highlights(trials: pd.DataFrame, stand: Standing, homes: Mapping[str, str]) -> dict[str, Row]:
    """Return a few trials that are best at something, each under a name that says at what.

    A trial that is best at two things is returned once, under both names. ``homes`` (trial_id ->
    what sets its sweep apart) tells the undefended trials of several sweeps apart.
    """
    front, objectives = stand.front[stand.front["accuracy"].notna()], stand.objectives
    baselines = trials[(trials["number"] == BASELINE) & (trials["status"] == "ok")]
    baselines = baselines[baselines["accuracy"].notna()].head(MOST_BASELINES)

    picks: dict[str, pd.DataFrame] = {}
    for place, trial_id in enumerate(baselines["trial_id"]):
        home = f" ({homes[trial_id]})" if homes.get(trial_id) else ""
        picks[f"{UNDEFENDED}{home}"] = baselines.iloc[[place]]
    picks[RECOMMENDED] = front[front["trial_id"] == stand.recommended()]
    picks["most accurate"] = front.head(1)
    if len(front):
        near = front[front["accuracy"] >= front["accuracy"].iloc[0] - NEAR]
        values = dict(zip(objectives.names, objectives.comparable(near).T, strict=True))
        if "inversion_mse" in values:
            picks["hardest to rebuild"] = near.iloc[[values["inversion_mse"].argmax()]]
        private = front[np.isfinite(front["epsilon"].to_numpy(dtype=float))]  # best first
        picks[BEST_WITH_DP] = private.head(1)

    names: dict[str, list[str]] = {}
    rows: dict[str, Row] = {}
    for name, frame in picks.items():
        for row in records(frame):
            rows[row["trial_id"]] = row
            names.setdefault(row["trial_id"], []).append(name)
    return {", ".join(of_trial): rows[trial_id] for trial_id, of_trial in names.items()}


def has_role(name: str, role: str) -> bool:
    """Return whether a name that :func:`highlights` gave says that the trial has ``role``."""
    return any(part == role or part.startswith(f"{role} (") for part in name.split(", "))


def percent(share: float) -> str:
    """Return a share of one as text.

    >>> percent(0.95)
    '95.0 %'
    """
    return f"{100 * share:.1f} %"


def leaks(row: Row) -> bool | None:
    """Return whether the attacks found more than they find without a leak; None if none ran.

    They did if the AUC is above ``attack_auc_null_high``, which 95 of 100 permutations of the
    membership do not exceed. Where a record has none, they did if the AUC's interval is above 0.5.
    """
    auc, low, null_high = (row[f"attack_auc{end}"] for end in ("", "_low", "_null_high"))
    if auc is None:
        return None
    if null_high is not None:
        return bool(auc > null_high)
    return None if low is None else bool(low > 0.5)


def sweep_facts(results: Results, trials: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the facts of a sweep, such as its data, model and attacks, as (heading, text)."""
    document = results.documents[0]
    sizes = [(trials[f"n_{name}"].dropna(), name) for name in SPLITS]
    attacks = document.get("attacks")
    families = attacks if isinstance(attacks, dict) else {}
    times = trials["started_at"].dropna()

    return [
        ("trials", f"{len(trials):,}: {_count(trials)}"),
        ("data", _phrase(document.get("dataset"))),
        ("split", ", ".join(f"{int(n.iloc[0]):,} {name}" for n, name in sizes if len(n))),
        ("model", _phrase(document.get("model"))),
        ("training", _phrase(document.get("training"))),
        ("varied", _phrase(document.get("search"))),
        ("scenarios", _phrase(document.get("scenarios"))),
        ("fixed defences", _phrase(document.get("defences"))),
        ("membership attacks", _phrase(families.get("membership"))),
        ("inversion attacks", _phrase(families.get("inversion"))),
        ("sampler", _phrase(document.get("sampler"))),
        ("seed", most_common(trials["seed"])),
        ("hardware", f"{most_common(trials['device'])} on {most_common(trials['node'])}"),
        ("a trial took", _seconds(trials)),
        ("software", most_common(trials["versions"].map(_versions))),
        ("ran", f"{times.min()} to {times.max()}" if len(times) else ""),
    ]


def summary_line(results: Results, trials: pd.DataFrame) -> str:
    """Return one line on the sweep: data, model, members, and how many trials there are."""
    document = results.documents[0]
    blocks = [document.get(key) for key in ("dataset", "model")]
    parts = [str(block.get("name")) for block in blocks if isinstance(block, dict)]
    members = trials["n_members"].dropna()
    if len(members):
        parts.append(counted(int(members.iloc[0]), "member"))
    return " · ".join([*parts, f"{_count(trials)} of {counted(len(trials), 'trial')}"])


def _count(trials: pd.DataFrame) -> str:
    count = trials["status"].value_counts()
    return ", ".join(f"{count.get(name, 0):,} {name}" for name in ("ok", "failed", "pruned"))


def _phrase(block: Any) -> str:
    """Return a block of a space as one line."""
    if block in (None, {}, []):
        return ""
    text: str = yaml.safe_dump(
        _drop_none(block), default_flow_style=True, width=10**6, sort_keys=False
    )
    return text.strip().removesuffix("...").strip().removeprefix("{").removesuffix("}")


def _drop_none(block: Any) -> Any:
    """Return a block without the keys whose value is None."""
    if not isinstance(block, dict):
        return block
    return {key: _drop_none(value) for key, value in block.items() if value is not None}


def most_common(values: pd.Series[Any]) -> str:
    """Return the most common value, and how many other values there are."""
    count = values.dropna().astype(str).value_counts()
    if count.empty:
        return "unknown"
    more = f" and {counted(len(count) - 1, 'other')}" if len(count) > 1 else ""
    return f"{count.index[0]}{more}"


def _versions(text: str | None) -> str:
    try:
        packages = json.loads(text or "{}")
        return ", ".join(f"{name} {version}" for name, version in packages.items())
    except (ValueError, AttributeError):
        return "unreadable"


def _seconds(trials: pd.DataFrame) -> str:
    typical = trials[["train_seconds", "attack_seconds"]].median()
    return "{:.1f} s of training, {:.1f} s of attacks (medians)".format(*typical)


RATES = {
    "tpr_at_fpr_0_1": "of 10 % strangers [95 %]",
    "tpr_at_fpr_0_01": "of 1 %",
    "tpr_at_fpr_0_001": "of 0.1 %",
}
"""Column of attacks -> the heading of its true-positive rate."""


def rate_rows(results: Results, picks: Mapping[str, Row]) -> list[list[str]]:
    """Return the true-positive rates of the strongest attack on each trial, in percent.

    A row is: trial, attack, and a rate with its interval for each of :data:`RATES`.
    """
    attacks = results.of("attacks", {row["trial_id"] for row in picks.values()})
    rows = []
    for name, pick in picks.items():
        is_strongest = (attacks["trial_id"] == pick["trial_id"]) & (
            attacks["attack"] == pick["strongest_attack"]
        )
        for row in records(attacks[is_strongest].sort_values("models").tail(1)):  # the recipe's
            rates = [
                _percent(*(row[f"{key}{end}"] for end in ("", "_low", "_high"))) for key in RATES
            ]
            rows.append([name, str(row["attack"]), *rates])
    return rows


def _percent(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{100 * value:.0f}{ends}"


def recognition_rows(results: Results, picks: Mapping[str, Row]) -> list[list[str]]:
    """Return how many reconstructed classes the face recogniser identifies, a row an attack.

    A row is: trial, attack, share of the classes, share of real images that it identifies.
    """
    attacks = results.of("attacks", {row["trial_id"] for row in picks.values()})
    names = {row["trial_id"]: name for name, row in picks.items()}
    rows = []
    for row in records(attacks[attacks["recognition_rate"].notna()]):
        low, high = (row[f"recognition_rate_{end}"] for end in ("low", "high"))
        share = f"{row['recognition_rate']:.0%}" + (f" [{low:.2f}, {high:.2f}]" if low else "")
        accuracy = f"{row['recogniser_accuracy'] or 0:.0%}"
        rows.append([names[row["trial_id"]], str(row["attack"]), share, accuracy])
    return rows


def axis_values(configs: Sequence[str], key: str) -> list[float | str | None]:
    """Return the value of an axis in each configuration; None where it cannot be read."""
    return [_value_at(config, key) for config in configs]


def _value_at(config: str, key: str) -> float | str | None:
    try:
        value = setting(from_plain(json.loads(config)), key)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return value if isinstance(value, float | int | str | None) else str(value)


def is_logarithmic(document: Mapping[str, Any], key: str) -> bool | None:
    """Return whether a space searches an axis on a log scale; None where it lists values."""
    search = document.get("search")
    axis = search.get(key) if isinstance(search, dict) else None
    return bool(axis.get("log")) if isinstance(axis, dict) and "low" in axis else None


def command(folder: str, document: Mapping[str, Any], config: str) -> str:
    """Return the command that runs a configuration again, quoted for a shell."""
    fixed = document.get("defences") or {}
    neutral = {key: value for key, value in defences.neutral().items() if key not in fixed}
    values = {key: _value_at(config, key) for key in varied_keys(document)}
    given = [
        f"--at {shlex.quote(f'{key}={_yaml(value)}')}"
        for key, value in values.items()
        if value is not None and neutral.get(key) != value
    ]
    return " ".join(["raysweep trial", shlex.quote(f"{folder}/space.yaml"), *given])


def _yaml(value: float | str) -> str:
    return ".inf" if value == np.inf else str(value)


def user_functions(document: Mapping[str, Any]) -> list[str]:
    """Return the references to a user's own functions and classes that a space names."""
    blocks = [document.get(key) for key in ("dataset", "model")]
    names = [block.get("name") for block in blocks if isinstance(block, dict)]

    attacks, fixed = document.get("attacks"), document.get("defences")
    families = list(attacks.values()) if isinstance(attacks, dict) else []
    names += [name for family in families if isinstance(family, dict | list) for name in family]
    keys = [*varied_keys(document), *(fixed if isinstance(fixed, dict) else ())]
    names += [reference_of(key) for key in keys if is_own_key(key)]
    return list(dict.fromkeys(str(name) for name in names if is_reference(name)))
