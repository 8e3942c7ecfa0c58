"""Run a membership attack on a shuffled mix of members and nonmembers, and measure its scores."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import metrics
from raysweep.attacks.contract import Distances, Knowledge, MembershipAttack, Scores, check_scores
from raysweep.attacks.metrics import FPRS
from raysweep.config import sub_seed, to_plain
from raysweep.config.own_class import naming
from raysweep.data import Split, Splits, concatenate
from raysweep.records.columns import AttackRecord, ScoreRows
from raysweep.training import signals
from raysweep.training.target import TrainedTarget


def parameters_json(attack: Any) -> str:
    """Return an attack's parameters as strict JSON."""
    return json.dumps(to_plain(asdict(attack)), sort_keys=True)


def seed_of(name: str, seed: int) -> int:
    """Return the seed of an attack in a trial with ``seed``."""
    return sub_seed(seed, "membership", name)


def judge_membership(
    name: str,
    attack: MembershipAttack,
    target: TrainedTarget,
    *,
    members: Split,
    nonmembers: Split,
    knowledge: Knowledge,
    trial_id: str,
    seed: int,
) -> tuple[AttackRecord, ScoreRows]:
    """Return the figures and the scores of ``attack`` on members shuffled among nonmembers.

    The attack is not told which are members. Examples whose status an attacker knows are left out
    for every attack.
    """
    start = time.perf_counter()
    attack_seed = seed_of(name, seed)

    members, nonmembers = knowledge.exclude_known(members, nonmembers)
    truth = np.repeat([True, False], [len(members), len(nonmembers)])
    order = np.random.default_rng(sub_seed(seed, "judge")).permutation(len(truth))
    examples, truth = concatenate(members, nonmembers, order), truth[order]

    granted = knowledge.grant(attack, target)
    with naming(f"membership attack {name!r}"):
        scores = attack.score(target, examples, granted, seed=attack_seed)
        check_scores(scores, len(examples))

    record = AttackRecord(
        trial_id=trial_id,
        family="membership",
        attack=name,
        parameters=parameters_json(attack),
        n_members=len(members),
        n_nonmembers=len(nonmembers),
        n_known_members=None if granted.known is None else len(granted.known.members),
        n_known_nonmembers=None if granted.known is None else len(granted.known.nonmembers),
        **_figures(scores, truth, seed=attack_seed),
        seconds=time.perf_counter() - start,
    )
    rows = ScoreRows(
        attack=name,
        example=examples.indices,
        member=truth,
        score=scores.values.astype(np.float64),
        reached=None if scores.distances is None else scores.distances.reached,
        threshold=scores.threshold,
    )
    return record, rows


def _figures(scores: Scores, truth: NDArray[np.bool_], *, seed: int) -> dict[str, Any]:
    values = scores.values.astype(np.float64)
    figures: dict[str, Any] = metrics.auc_interval(values, truth).columns("auc")
    figures["advantage_oracle"] = metrics.advantage_oracle(values, truth)
    if scores.threshold is not None:
        figures |= metrics.advantage(values, truth, scores.threshold).columns("advantage")
    if scores.distances is not None:
        figures |= _distance_figures(scores.distances, truth, seed=seed)

    for label, fpr in FPRS.items():
        point = metrics.tpr_at_fpr(values, truth, fpr, seed=tie_seed(seed))
        figures |= rate_columns(label, point)
    return figures


def judge_tail(target: TrainedTarget, splits: Splits, *, seed: int) -> dict[str, float]:
    """Return the columns of the tail of the losses; nothing with too few members."""
    judged, truth = judged_by(splits)
    odds = signals.label_log_odds(target.logits(judged), judged.labels)
    share = metrics.tail(odds, truth, seed=tie_seed(sub_seed(seed, "tail")))
    return {} if share is None else share.columns("tail")


def judged_by(splits: Splits) -> tuple[Split, NDArray[np.bool_]]:
    """Return the members and the nonmembers, and which of them are members."""
    truth = np.repeat([True, False], [len(splits.members), len(splits.nonmembers)])
    return concatenate(splits.members, splits.nonmembers), truth


def tie_seed(seed: int) -> int:
    """Return the seed by which ties are broken, from that of an attack."""
    return sub_seed(seed, "ties")


def rate_columns(label: str, point: metrics.TprAtFpr | None) -> dict[str, float]:
    """Return the columns of a true-positive rate, none where it is unknown."""
    if point is None:
        return {}
    key = f"tpr_at_fpr_{label}"
    return point.tpr.columns(key) | {f"{key}_realised_fpr": point.realised_fpr}


def _distance_figures(
    distances: Distances, truth: NDArray[np.bool_], *, seed: int
) -> dict[str, Any]:
    """Return the mean distances and their gap, over all examples and over those unsure at first."""
    figures: dict[str, Any] = {
        "n_unsure_members": int((distances.unsure & truth).sum()),
        "n_unsure_nonmembers": int((distances.unsure & ~truth).sum()),
        "unreached_members": float((~distances.reached[truth]).mean()),
        "unreached_nonmembers": float((~distances.reached[~truth]).mean()),
    }

    for kind, chosen in (("distance", np.ones_like(truth)), ("unsure_distance", distances.unsure)):
        members = distances.values[chosen & truth]
        nonmembers = distances.values[chosen & ~truth]
        if len(members) and len(nonmembers):
            gap = metrics.relative_gap(members, nonmembers, seed=sub_seed(seed, "gap", kind))
            figures |= {f"{kind}_members": float(members.mean())} | gap.columns(f"{kind}_gap")
            figures |= {f"{kind}_nonmembers": float(nonmembers.mean())}
    return figures
