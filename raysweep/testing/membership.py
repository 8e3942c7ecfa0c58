"""The rules that every membership attack keeps, on a target that memorised its members."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysweep.attacks.contract import DatasetName, Knowledge, check_scores, draw_known
from raysweep.attacks.shadows import TrainedShadow, train_shadows
from raysweep.data import Split, concatenate
from raysweep.records.columns import AttackRecord, ScoreRows
from raysweep.testing.rules import CPU, demand, demanding, digits, mlp, parameters
from raysweep.training.loop import train
from raysweep.training.target import TrainedTarget
from raysweep.trial.membership_judge import judge_membership


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A target with its members and nonmembers, and what its attacker has."""

    target: TrainedTarget
    members: Split
    nonmembers: Split
    knowledge: Knowledge


@functools.cache
def stage() -> Stage:
    """Return a target that memorised 120 noisily labelled digits, half of them known."""
    splits, plan = digits(), mlp(64, "relu", epochs=40)
    outside = concatenate(splits.nonmembers, splits.test)  # enough to be taught by and judged on
    drawn = (splits.members, outside, splits.pool, splits.validation)
    members, nonmembers, pool, reference = (
        _with_wrong_labels(split, seed=seed) for seed, split in enumerate(drawn)
    )
    target = train(plan, members, seed=0, device=CPU)

    def shadows(numbers: Sequence[int], dataset: DatasetName | None) -> list[TrainedShadow]:
        examples, seed = (pool, 1) if dataset is None else (_another(pool), 0)
        return train_shadows(plan, examples, len(members), numbers, seed=seed, device=CPU)

    knowledge = Knowledge(
        pool=pool,
        train_shadows=shadows,
        reference=reference,
        training_loss=target.member_loss,
        known=draw_known(members, nonmembers, 0.5, seed=0),
    )
    return Stage(target=target, members=members, nonmembers=nonmembers, knowledge=knowledge)


def _with_wrong_labels(split: Split, *, seed: int) -> Split:
    """Return the split with labels redrawn for 40 %: those can only be memorised."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(split)) < 0.4
    labels = np.where(wrong, rng.integers(0, 10, len(split)), split.labels)
    return dataclasses.replace(split, labels=labels)


def _another(pool: Split) -> Split:
    """Return the pool as another data set: flat, and with fewer classes under other names."""
    flat = pool.features.reshape(len(pool), -1)[:, ::-1].copy()
    return dataclasses.replace(pool, features=flat, labels=pool.labels % 7, n_classes=7)


def judged(name: str, attack: Any, **changes: Split) -> tuple[AttackRecord, ScoreRows]:
    """Return the judge's rows of an attack, on the members and nonmembers unless changed."""
    on = stage()
    examples = {"members": on.members, "nonmembers": on.nonmembers, **changes}
    return judge_membership(
        name, attack, on.target, **examples, knowledge=on.knowledge, trial_id="t", seed=0
    )


def recognises_members(name: str, attack: Any) -> None:
    """Check that it recognises the members of a memorised target."""
    rule = "the AUC's interval lies above 0.5 on a target that memorised its members"
    with demanding(name, rule):
        record, _ = judged(name, attack)
    found = f"AUC {record.auc} in [{record.auc_low}, {record.auc_high}]"
    demand(record.auc_low is not None and record.auc_low > 0.5, name, rule, found)


def finds_nothing_where_there_is_nothing(name: str, attack: Any) -> None:
    """Check that its interval holds 0.5 where members and nonmembers are exchangeable."""
    rule = "the AUC's interval holds 0.5 where members and nonmembers are exchangeable"
    fresh = digits().validation
    half = np.arange(len(fresh)) % 2 == 0
    with demanding(name, rule):
        record, _ = judged(name, attack, members=fresh.rows(half), nonmembers=fresh.rows(~half))
    low, high = record.auc_low, record.auc_high
    holds = low is not None and high is not None and low <= 0.5 <= high
    demand(holds, name, rule, f"AUC {record.auc} in [{low}, {high}]")


def scores_examples_one_by_one(name: str, attack: Any) -> None:
    """Check that permuted examples have permuted scores."""
    rule = "permuted examples give permuted scores: an order must not tell who is a member"
    on = stage()
    examples = concatenate(on.members, on.nonmembers)
    order = np.random.default_rng(0).permutation(len(examples))
    with demanding(name, rule):
        straight = _scores(attack, examples, seed=0)
        permuted = _scores(attack, examples.rows(order), seed=0)
    gap = float(np.abs(permuted - straight[order]).max())
    close = np.allclose(permuted, straight[order], rtol=1e-3, atol=1e-4)
    demand(close, name, rule, f"scores that differ by {gap:.3g}")


def repeats_itself(name: str, attack: Any) -> None:
    """Check that the same seed gives the same scores, one for each example."""
    rule = "the same seed gives the same scores"
    members = stage().members
    with demanding(name, rule):
        first, again = (_scores(attack, members, seed=5) for _ in range(2))
    demand(np.array_equal(first, again), name, rule, "other scores the second time")


def leaves_the_target_as_it_was(name: str, attack: Any) -> None:
    """Check that the target's weights stay as they were."""
    rule, on = "the target's weights stay as they were", stage()
    before = parameters(on.target)
    with demanding(name, rule):
        _scores(attack, on.members, seed=5)
    demand(bool((parameters(on.target) == before).all()), name, rule, "other weights")


def _scores(attack: Any, examples: Split, *, seed: int) -> Any:
    """Return the attack's scores, with the knowledge that it needs and no more."""
    on = stage()
    granted = on.knowledge.grant(attack, on.target)
    scores = attack.score(on.target, examples, granted, seed=seed)
    check_scores(scores, len(examples))
    return scores.values


RULES: tuple[Callable[[str, Any], None], ...] = (
    recognises_members,
    finds_nothing_where_there_is_nothing,
    scores_examples_one_by_one,
    repeats_itself,
    leaves_the_target_as_it_was,
)
