"""Measure how often each interval holds the truth, and what attacks find where nothing leaks.

python -m benchmarks.validity [--json] [--draws 1000] [--repeats 400], 5 minutes. `coverage`:
shifted normal scores, whose true AUC, TPR and advantage are known; the share of the draws in which
the 95 % interval holds the truth. `null`: real targets on digits whose "members" and "nonmembers"
are random halves of examples that no model has seen, judged by the default attacks; the share of
the repeats in which the interval of each attack holds 0.5, and the strongest attack's AUC beside
its null. `memoriser`: scores that give every member away. `selftest`: what `raysweep selftest`
shows of the right code with the quickstart's network, and how often it finds anything
(--audits 200, 5 minutes more).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.common import finish, options, spread
from benchmarks.membership import space
from raysweep import data
from raysweep.attacks import intervals, metrics
from raysweep.attacks.contract import Knowledge
from raysweep.attacks.shadows import TrainedShadow, train_shadows
from raysweep.records.columns import AttackRecord
from raysweep.space.parsing import load_space
from raysweep.training.loop import train
from raysweep.trial import preflight, verdict
from raysweep.trial.membership_judge import judge_membership
from raysweep.trial.selftest import audited, selftest

AUCS = [
    (0.0, 200, 200),
    (0.0, 1000, 100),
    (1.0, 500, 200),
    (2.0, 200, 200),
    (3.0, 200, 200),
    (4.07, 200, 200),
    (5.0, 1000, 1000),
]
"""(distance of the normals, members, nonmembers)."""

TPRS = [
    (0.0, 500, 200, 0.1),
    (1.0, 500, 200, 0.1),
    (3.0, 500, 200, 0.1),
    (0.0, 2000, 1000, 0.01),
    (1.0, 2000, 1000, 0.01),
    (3.0, 1000, 1000, 0.01),
    (1.0, 10_000, 10_000, 0.001),
]
"""(distance of the normals, members, nonmembers, false-positive rate)."""

STRONGEST = [(0.0, 4), (0.8, 4), (0.9, 8)]
"""(correlation of the attacks' scores, number of attacks)."""

CLAIMED = (1.0, 2.0, 4.0, 8.0)
"""The epsilons at which the self-test is tried."""

Floats = NDArray[np.float64]


def holds(interval: intervals.Interval, truth: float) -> bool:
    """Return whether an interval holds the truth."""
    return interval.low <= truth <= interval.high


def normals(
    d: float, n_members: int, n_nonmembers: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return scores of members (mean ``d``) and of nonmembers (mean 0), and the truth."""
    truth = np.repeat([True, False], [n_members, n_nonmembers])
    return rng.normal(size=len(truth)) + d * truth, truth


def coverage(draws: int) -> dict[str, float]:
    """Return, for each measure and setting, the share of intervals that hold the truth."""
    rng, result = np.random.default_rng(0), {}
    for name, is_covered in _settings(rng):
        result[name] = round(float(np.mean([is_covered() for _ in range(draws)])), 4)
        print(f"{name}: {result[name]}", file=sys.stderr)
    return result


def _settings(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Yield the name of each setting, and whether new scores are covered, as a function."""
    for d, n_members, n_nonmembers in AUCS:
        name = f"auc_{norm.cdf(d / np.sqrt(2)):.4f}_of_{n_members}_and_{n_nonmembers}"
        yield name, partial(_auc, d, n_members, n_nonmembers, rng)

    for d, n_members, n_nonmembers, fpr in TPRS:
        rate = norm.sf(norm.isf(fpr) - d)
        name = f"tpr_{rate:.4f}_at_{fpr}_of_{n_members}_and_{n_nonmembers}"
        yield name, partial(_tpr, d, n_members, n_nonmembers, fpr, rng)

    for correlation, k in STRONGEST:
        yield f"strongest_of_{k}_correlated_{correlation}", partial(_strongest, k, correlation, rng)
    yield "advantage_of_500_and_200", partial(_advantage, rng)


def _auc(d: float, n_members: int, n_nonmembers: int, rng: np.random.Generator) -> bool:
    area = metrics.auc_interval(*normals(d, n_members, n_nonmembers, rng))
    return holds(area, norm.cdf(d / np.sqrt(2)))


def _tpr(d: float, n_members: int, n_nonmembers: int, fpr: float, rng: np.random.Generator) -> bool:
    found = metrics.tpr_at_fpr(*normals(d, n_members, n_nonmembers, rng), fpr, seed=0)
    return found is not None and holds(found.tpr, norm.sf(norm.isf(fpr) - d))


def _advantage(rng: np.random.Generator) -> bool:
    gap = metrics.advantage(*normals(1.0, 500, 200, rng), threshold=0.5)
    return holds(gap, norm.cdf(0.5) - norm.cdf(-0.5))


def _strongest(k: int, correlation: float, rng: np.random.Generator) -> bool:
    """Return whether the interval of the strongest of k attacks holds their common true AUC."""
    common, truth = normals(0.5, 500, 200, rng)
    own = rng.normal(size=(k, len(truth))) * np.sqrt(1 - correlation)
    scores = own + np.sqrt(correlation) * (common - 0.5 * truth) + 0.5 * truth
    areas = [metrics.auc_interval(one, truth, level=1 - 0.05 / k) for one in scores]
    return holds(max(areas), norm.cdf(0.5 / np.sqrt(2)))


def null(repeats: int, *, n_targets: int = 20, epochs: int = 30) -> dict[str, Any]:
    """Return what the default attacks find among examples that no model has seen.

    Each of ``n_targets`` targets, trained on digits with a seed of its own, is judged on random
    halves of its nonmembers: one half is called members.
    """
    judged = [
        judgement
        for seed in range(n_targets)
        for judgement in _judge_without_leak(seed, ceil(repeats / n_targets), epochs)
    ]
    n = len(judged)
    verdicts = [found for _, found in judged]
    names = [record.attack for record in judged[0][0]]
    return {
        "repeats": n,
        **{
            f"{name}_holds_one_half": sum(r.auc_low <= 0.5 <= r.auc_high for r in each) / n
            for name, each in zip(
                names, zip(*(rows for rows, _ in judged), strict=True), strict=True
            )
        },
        "strongest_holds_one_half": sum(
            v["attack_auc_low"] <= 0.5 <= v["attack_auc_high"] for v in verdicts
        )
        / n,
        "strongest_auc": spread([v["attack_auc"] for v in verdicts]),
        "its_null": spread([v["attack_auc_null"] for v in verdicts]),
        "up_to_null_high": sum(v["attack_auc"] <= v["attack_auc_null_high"] for v in verdicts) / n,
    }


def _judge_without_leak(
    seed: int, n: int, epochs: int
) -> Iterator[tuple[list[AttackRecord], dict[str, Any]]]:
    """Train a target and yield, ``n`` times, the records of its attacks and the strongest one."""
    config = space("digits_mlp", {"epochs": epochs}).config({"seed": seed})
    splits, device = data.load(config.dataset, seed=seed), torch.device("cpu")
    recipe = preflight.recipe_of(config, splits)
    target = train(recipe, splits.members, seed=seed, device=device)

    def shadows(numbers: Sequence[int], _dataset: object) -> list[TrainedShadow]:
        n_members = len(splits.members)
        return train_shadows(recipe, splits.pool, n_members, numbers, seed=seed, device=device)

    knowledge = Knowledge(pool=splits.pool, train_shadows=shadows)
    for repeat in range(n):
        order = np.random.default_rng([seed, repeat]).permutation(len(splits.nonmembers))
        members, nonmembers = map(splits.nonmembers.rows, np.array_split(order, 2))
        rows = [
            judge_membership(
                name,
                attack,
                target,
                members=members,
                nonmembers=nonmembers,
                knowledge=knowledge,
                trial_id="",
                seed=repeat,
            )
            for name, attack in config.attacks.membership.items()
        ]
        records, scores = [record for record, _ in rows], [score for _, score in rows]
        yield records, verdict.strongest_membership(config, records, scores)
    print(f"null: target {seed}, {n} repeats", file=sys.stderr)


def memoriser() -> dict[str, Any]:
    """Return the figures of scores that give every member away, of 1,000 and 1,000."""
    scores, truth = np.arange(2000.0)[::-1], np.repeat([True, False], 1000)
    rate = metrics.tpr_at_fpr(scores, truth, 0.01, seed=0)
    assert rate is not None
    return {"auc": metrics.auc_interval(scores, truth), "tpr_at_fpr_0_01": rate.tpr}


def audits(runs: int) -> dict[str, Any]:
    """Return what the self-test of the right code shows at each epsilon, over ``runs`` seeds.

    ``above`` counts the runs whose canaries show more than is claimed, and ``flagged`` those in
    which any test fails: the limits are 0, and 1 in 1,000.
    """
    found: dict[str, Any] = {}
    for claimed in CLAIMED:
        config = load_space("quickstart").config({"target_epsilon": claimed})
        splits = data.load(config.dataset, seed=config.seed)
        shown = [audited(config, splits, seed=seed) for seed in range(runs)]
        wrong = [
            finding.name
            for seed in range(runs)
            for finding in selftest(config, splits, seed=seed)
            if not finding.is_right
        ]
        found[f"epsilon {claimed:g}"] = {
            "shown": spread([one.shown for one in shown]),
            "could_have_shown": shown[0].could_have_shown,
            "above": sum(one.shown > one.claimed for one in shown),
            "flagged": wrong,
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the calibration of every instrument."""
    parser = options(__doc__)
    parser.add_argument("--draws", type=int, default=1000, help="of scores for each interval")
    parser.add_argument("--repeats", type=int, default=400, help="without a leak, in all")
    parser.add_argument("--targets", type=int, default=20, help="trained for the repeats")
    parser.add_argument("--epochs", type=int, default=30, help="of each target")
    parser.add_argument("--audits", type=int, default=0, help="self-tests at each epsilon")
    given = parser.parse_args(arguments)

    result = {
        "coverage": coverage(given.draws),
        "null": null(given.repeats, n_targets=given.targets, epochs=given.epochs),
        "memoriser": memoriser(),
        "selftest": audits(given.audits) if given.audits else "not run: give --audits 200",
    }
    finish(result, as_json=given.json)


if __name__ == "__main__":
    main()
