"""Records -> what a person who must ship a model is told, in words and short lists. No markup."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml

from raysweep import defences
from raysweep.attacks.metrics import Interval, proportion
from raysweep.config.registry import is_reference
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import REQUIREMENTS, Objectives
from raysweep.records.results import Results, records

COLUMNS = (
    *("error", "scenario", "target_epsilon", "delta", "accountant", "seed", "attempts"),
    *("versions", "device", "node", "split", "split_hash", "started_at", "attack_seconds"),
    *("n_members", "n_nonmembers", "n_pool", "n_reference", "n_validation", "n_test"),
    *("attack_auc_low", "attack_auc_high", "strongest_attack"),
)
"""What is read of every trial, beside what decides and what varied."""

NEAR = 0.05
"""How much accuracy, below the best on the front, a person may give up without a second thought."""

Row = Mapping[str, Any]


def highlights(trials: pd.DataFrame, front: pd.DataFrame, objectives: Objectives) -> dict[str, Row]:
    """Return a few trials by what they are best at; one that is best at two things stands once."""
    front = front[front["accuracy"].notna()]
    baseline = trials[(trials["number"] == BASELINE) & (trials["status"] == "ok")]
    baseline = baseline[baseline["accuracy"].notna()]
    found = {"undefended": baseline.head(1), "most accurate": front.head(1)}
    if len(front):
        near = front[front["accuracy"] >= front["accuracy"].iloc[0] - NEAR]
        values = dict(zip(objectives.names, objectives.comparable(near).T, strict=True))
        told = f"within {100 * NEAR:.0f} points"
        if "attack_auc" in values:
            found[f"least recognised {told}"] = near.iloc[[values["attack_auc"].argmin()]]
        if "inversion_mse" in values:
            found[f"hardest to rebuild {told}"] = near.iloc[[values["inversion_mse"].argmax()]]
        private = front[np.isfinite(front["epsilon"].to_numpy(dtype=float))]  # best first
        found["most accurate with DP-SGD"] = private.head(1)
    names: dict[str, list[str]] = {}
    rows: dict[str, Row] = {}
    for name, frame in found.items():
        for row in records(frame):
            rows[row["trial_id"]] = row
            names.setdefault(row["trial_id"], []).append(name)
    return {", ".join(told): rows[trial_id] for trial_id, told in names.items()}


def accuracy_interval(row: Row) -> Interval | None:
    """Return the validation accuracy with its exact 95 % interval; None without its counts."""
    reached, n = row["accuracy"], row["n_validation"]
    if reached is None or n is None or not (0 <= reached <= 1 <= n):
        return None
    return proportion(round(float(reached) * int(n)), int(n))


def swept(results: Results, trials: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what was swept, on what and how, as (heading, text)."""
    document = results.documents[0]
    sizes = [(trials[f"n_{name}"].dropna(), name) for name in SPLITS]
    attacks = document.get("attacks")
    families = attacks if isinstance(attacks, dict) else {}
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
        ("seed", _several(trials["seed"])),
        ("hardware", f"{_several(trials['device'])} on {_several(trials['node'])}"),
        ("a trial took", _seconds(trials)),
        ("software", _several(trials["versions"].map(_versions))),
        ("ran", _span(trials["started_at"].dropna())),
    ]


def _span(times: pd.Series[Any]) -> str:
    return f"{times.min()} to {times.max()}" if len(times) else ""


SPLITS = ("members", "nonmembers", "pool", "reference", "validation", "test")


def brief(results: Results, trials: pd.DataFrame) -> str:
    """Return what was swept in one line."""
    document = results.documents[0]
    names = [document.get(key) for key in ("dataset", "model")]
    told = [str(block.get("name")) for block in names if isinstance(block, dict)]
    members = trials["n_members"].dropna()
    told += [f"{int(members.iloc[0]):,} members"] if len(members) else []
    return " · ".join([*told, f"{_count(trials)} of {len(trials):,} trials"])


def _count(trials: pd.DataFrame) -> str:
    count = trials["status"].value_counts()
    return ", ".join(f"{count.get(name, 0):,} {name}" for name in ("ok", "failed", "pruned"))


def _phrase(block: Any) -> str:
    """Return a block of a space as one line."""
    if block in (None, {}, []):
        return ""
    text: str = yaml.safe_dump(_kept(block), default_flow_style=True, width=10**6, sort_keys=False)
    return text.strip().removesuffix("...").strip().removeprefix("{").removesuffix("}")


def _kept(block: Any) -> Any:
    """Return a block without the keys that say nothing."""
    if not isinstance(block, dict):
        return block
    return {key: _kept(value) for key, value in block.items() if value is not None}


def _several(values: pd.Series[Any]) -> str:
    """Return the most common of some values, and how many others there are."""
    count = values.dropna().astype(str).value_counts()
    if count.empty:
        return "unknown"
    more = f" and {len(count) - 1} others" if len(count) > 1 else ""
    return f"{count.index[0]}{more}"


def _versions(text: str | None) -> str:
    try:
        found = json.loads(text or "{}")
        return ", ".join(f"{name} {version}" for name, version in found.items())
    except (ValueError, AttributeError):
        return "unreadable"


def _seconds(trials: pd.DataFrame) -> str:
    typical = trials[["train_seconds", "attack_seconds"]].median()
    return "{:.1f} s of training, {:.1f} s of attacks (medians)".format(*typical)


def privacy(front: pd.DataFrame, n_trials: int) -> list[str]:
    """Return what the epsilons of a front promise, and what they do not, in sentences."""
    spent = front["epsilon"].astype(float)
    private = front[np.isfinite(spent.to_numpy())]
    rest = len(front) - len(private)
    nothing = (
        "promise nothing: the figures say what these attacks found, and a stronger attack may "
        "find more."
    )
    told = []
    if len(private):
        low, high = private["epsilon"].min(), private["epsilon"].max()
        told.append(
            f"{len(private)} of the {len(front)} configurations on the front were trained with "
            f"DP-SGD. Each of these models by itself is (epsilon, delta)-differentially private "
            f"for adding or removing one training example: epsilon spent {low:.3g} to {high:.3g} "
            f"(the table has each), delta {_several(private['delta'])}, by the "
            f"{_several(private['accountant']).upper()} accountant."
        )
    if rest:
        told.append(f"{rest} of the {len(front)} were trained without DP-SGD and {nothing}")
    told.append(
        f"An epsilon is that of one run. Choosing among {n_trials:,} trained models by their "
        "figures is not covered by any of them."
    )
    told.append(
        "These records are not covered either: accuracies, AUCs, scores and reconstructions come "
        "from the training examples themselves. The noise followed the stored seed, so the "
        "promise holds only against those who do not know it."
    )
    return told


MISSED = {
    "collapsed": "collapsed to the largest class: attacks on them say nothing",
    "inversion_converged": "have an inversion that did not converge, which is no privacy",
}
"""What to say of trials that miss a requirement for the front."""


def warnings(trials: pd.DataFrame, front: pd.DataFrame, objectives: Objectives) -> list[str]:
    """Return what a reader must know before trusting the figures; empty when there is nothing."""
    ok = trials["status"] == "ok"
    left_out = int((ok & ~objectives.eligible(trials)).sum())
    count = {
        **{
            text: ok & trials[column].eq(not REQUIREMENTS[column])
            for column, text in MISSED.items()
        },
        "spent more epsilon than was asked": trials["epsilon"] > 1.01 * trials["target_epsilon"],
        "needed more than one attempt (a worker, its node or its memory failed)": (
            trials["attempts"] > 1
        ),
        "were pruned: stopped at a rung, never attacked in full": trials["status"] == "pruned",
    }
    told = [f"{int(hit.sum()):,} trials {what}." for what, hit in count.items() if hit.any()]
    if left_out:
        told.append(f"{left_out:,} finished trials are left out of the front for such reasons.")
    failed = trials[trials["status"] == "failed"]
    reasons = failed["error"].fillna("no reason recorded").value_counts()
    told += [f"{n:,} trials failed: {error}" for error, n in reasons.head(MOST_REASONS).items()]
    if len(reasons) > MOST_REASONS:
        told.append(f"{len(reasons) - MOST_REASONS} more reasons for failures are in the records.")
    for column, what in (("split_hash", "splits of the data"), ("versions", "sets of versions")):
        kinds = trials[column].nunique()
        if kinds > 1:
            told.append(f"The trials come from {kinds} {what}: compare them with care.")
    if front.empty:
        told.append("No trial stands on the front: all failed, collapsed or did not converge.")
    return told


MOST_REASONS = 5


def recognised(results: Results, picks: Mapping[str, Row]) -> list[list[str]]:
    """Return how many rebuilt classes an independent eye names: trial, attack, share, its own."""
    attacks = results.of("attacks", {row["trial_id"] for row in picks.values()})
    names = {row["trial_id"]: name for name, row in picks.items()}
    told = []
    for row in records(attacks[attacks["recognition_rate"].notna()]):
        low, high = (row[f"recognition_rate_{end}"] for end in ("low", "high"))
        share = f"{row['recognition_rate']:.0%}" + (f" [{low:.2f}, {high:.2f}]" if low else "")
        eye = row["recogniser_accuracy"]
        told.append([names[row["trial_id"]], str(row["attack"]), share, f"{eye or 0:.0%}"])
    return told


def axis_values(configs: Sequence[str], key: str) -> list[float | str | None]:
    """Return what an axis was in each configuration; None where that cannot be read."""
    return [_at(config, key) for config in configs]


def _at(config: str, key: str) -> float | str | None:
    path = key.split(".") if "." in key or key == "seed" else ["defences", key]
    try:
        value = json.loads(config)
        for part in path:
            value = value[part]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    if isinstance(value, str) and value in ("inf", "-inf"):
        return float(value)
    return value if isinstance(value, float | int | str) else str(value)


def settings(document: Mapping[str, Any]) -> list[str]:
    """Return the keys that vary in a space: of its axes, then of its scenarios."""
    scenarios = document.get("scenarios")
    blocks = [document.get("search")]
    blocks += scenarios.values() if isinstance(scenarios, dict) else []
    known = (block for block in blocks if isinstance(block, dict))
    return list(dict.fromkeys(str(key) for block in known for key in block))


def is_logarithmic(document: Mapping[str, Any], key: str) -> bool | None:
    """Return whether a space searches an axis in its logarithm; None where it lists values."""
    search = document.get("search")
    axis = search.get(key) if isinstance(search, dict) else None
    return bool(axis.get("log")) if isinstance(axis, dict) and "low" in axis else None


def again(folder: str, document: Mapping[str, Any], config: str) -> str:
    """Return the command that runs a configuration again; safe to paste into a shell."""
    fixed = document.get("defences") or {}
    neutral = {key: value for key, value in defences.neutral().items() if key not in fixed}
    values = {key: _at(config, key) for key in settings(document)}
    given = [
        f"--at {shlex.quote(f'{key}={_yaml(value)}')}"
        for key, value in values.items()
        if value is not None and neutral.get(key) != value
    ]
    return " ".join(["raysweep trial", shlex.quote(f"{folder}/space.yaml"), *given])


def _yaml(value: float | str) -> str:
    return ".inf" if value == np.inf else str(value)


def foreign(document: Mapping[str, Any]) -> list[str]:
    """Return the functions of a user's own that a space calls."""
    blocks = [document.get(key) for key in ("dataset", "model")]
    names = [block.get("name") for block in blocks if isinstance(block, dict)]
    return [str(name) for name in names if is_reference(name)]
