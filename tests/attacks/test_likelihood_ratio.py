"""The likelihood ratios of RMIA and LiRA: as the papers define them, and fine near 1."""

import math

import numpy as np
import pytest

from raysweep.attacks import MEMBERSHIP, Attacks
from raysweep.attacks.contract import Knowledge
from raysweep.attacks.membership.likelihood_ratio import (
    CHOICES,
    Lira,
    Rmia,
    expected_odds,
    expected_odds_online,
    log_ratio,
)
from raysweep.data import concatenate
from raysweep.errors import DataError, SpaceError
from raysweep.testing import membership
from raysweep.training import signals


@pytest.fixture(scope="module")
def on():
    """A target that memorised its members, and its attacker's knowledge with two shadows."""
    return membership.stage()


def posterior(model, examples):
    """The posterior of each label, by the plain formula."""
    rows = zip(model.logits(examples).tolist(), examples.labels.tolist(), strict=True)
    return [math.exp(row[y]) / sum(math.exp(logit) for logit in row) for row, y in rows]


def ratios_by_loops(target, shadows, examples, a):
    """p(y|x) / p(x) of each example, in plain Python."""
    trained_on = [set(shadow.members.indices.tolist()) for shadow in shadows]
    of_shadows = [posterior(shadow.target, examples) for shadow in shadows]
    found = []
    for i, p in enumerate(posterior(target, examples)):
        index = int(examples.indices[i])
        out = [q[i] for q, seen in zip(of_shadows, trained_on, strict=True) if index not in seen]
        p_out = sum(out) / len(out)
        p_in = a * p_out + (1 - a)
        found.append(p / ((p_in + p_out) / 2))
    return found


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_shadows", [1, 2])
def test_the_score_is_the_log_of_the_papers_ratio(on, a, n_shadows):
    examples = concatenate(on.members, on.nonmembers)
    scores = Rmia(a=a, n_shadows=n_shadows).score(on.target, examples, on.knowledge, seed=0)
    naive = ratios_by_loops(on.target, on.knowledge.shadows(n_shadows), examples, a)
    assert np.abs(scores.values - np.log(naive)).max() < 1e-9


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_share_of_the_population_that_an_example_beats_has_the_same_order(on, gamma):
    (shadow,) = on.knowledge.shadows(1)
    examples, population = concatenate(on.members, on.nonmembers), shadow.nonmembers
    ratios = ratios_by_loops(on.target, [shadow], examples, 0.3)
    others = ratios_by_loops(on.target, [shadow], population, 0.3)
    shares = np.array([sum(x / z >= gamma for z in others) / len(others) for x in ratios])

    scores = Rmia(a=0.3).score(on.target, examples, on.knowledge, seed=0).values
    assert (np.diff(shares[np.argsort(scores)]) >= 0).all()
    assert len(set(shares)) < len(set(scores))


def test_references_that_saw_an_example_are_left_out():
    references = np.array([[1.0, 9.0], [9.0, -2.0], [0.5, -0.5]])
    seen = np.array([[False, True], [True, False], [False, False]])
    alone = expected_odds(np.array([[1.0], [-2.0]]), np.zeros((2, 1), dtype=bool), 0.4)
    assert np.allclose(expected_odds(references, seen, 0.4)[:2], alone, rtol=1e-12)
    with pytest.raises(DataError, match="all shadows trained on 1 of 1 examples; train more"):
        expected_odds(references[:1], np.array([[True, True]]), 0.4)


@pytest.mark.parametrize("a", [0.0, 0.5, 1.0])
def test_posteriors_that_round_to_one_keep_their_order(a):
    gaps = np.arange(34.0, 80.0)  # p = 1 - 1.7e-15 at the first, 1 - 5e-35 at the last
    logits = np.stack([gaps, np.zeros_like(gaps)], axis=1)
    odds = signals.label_log_odds(logits, np.zeros(len(gaps), dtype=np.int64))
    never = np.zeros((len(odds), 1), dtype=bool)

    by_target = log_ratio(odds[:8], expected_odds(np.full((8, 1), 30.0), never[:8], a))
    assert (np.diff(by_target) > 0).all()
    by_reference = log_ratio(np.full(len(odds), 90.0), expected_odds(odds[:, None], never, a))
    assert (np.diff(by_reference) < 0).all()
    assert np.isfinite(expected_odds(-10 * odds[:, None], never, a)).all()


def test_auto_takes_one_of_its_choices_for_all_examples(on):
    def values(a):
        return Rmia(a=a).score(on.target, on.members, on.knowledge, seed=0).values

    assert sum(np.array_equal(values("auto"), values(a)) for a in CHOICES) == 1


def test_a_and_the_threshold_do_not_depend_on_the_judged_examples(on):
    first, second = (
        Rmia(n_shadows=2).score(on.target, split, on.knowledge, seed=0)
        for split in (on.members, on.nonmembers)
    )
    assert first.threshold == second.threshold
    record, _ = membership.judged("rmia", Rmia())
    assert record.advantage_low > 0.4


def test_it_uses_the_shadows_that_are_trained_anyway(on):
    trained = []

    def train(numbers, dataset):
        trained.extend(numbers)
        return on.knowledge.shadows(1)

    shared = Knowledge(pool=on.knowledge.pool, train_shadows=train)
    for name in ("shadow", "rmia"):
        attack = MEMBERSHIP[name]()
        attack.score(on.target, on.members, shared.grant(attack, on.target), seed=0)
    assert trained == [0]


def test_it_finds_more_than_the_attacks_without_references(on):
    areas = {n: membership.judged(n, MEMBERSHIP[n]())[0].auc for n in ("rmia", "loss", "shadow")}
    assert areas["rmia"] > areas["loss"] + 0.03
    assert areas["rmia"] > areas["shadow"] + 0.03


@pytest.mark.parametrize("a", [-0.1, 1.5, "often", True, None, float("nan")])
def test_a_value_of_a_outside_its_range_is_refused(a):
    with pytest.raises(SpaceError, match=r"`a` must be auto, or a number in \[0, 1\]"):
        Attacks.parse({"membership": {"rmia": {"a": a}}})


def random_odds(n_models, n=30, seed=0):
    """A model's log-odds (n,), its references' (n, k), and which of them saw each example."""
    rng = np.random.default_rng(seed)
    k = n_models - 2
    difficulty = rng.normal(3, 2, n)
    seen = np.argsort(rng.random((n, k)), axis=1) < k // 2
    references = difficulty[:, None] + 0.8 * seen + rng.normal(0, 1, (n, k))
    return difficulty + rng.normal(0, 1, n), references, seen


def gaussian_log_density(x, mean, variance):
    return -0.5 * math.log(2 * math.pi * variance) - (x - mean) ** 2 / (2 * variance)


def lira_by_loops(odds, references, seen, *, pooled):
    """log N(x; in) - log N(x; out) of each example, in plain Python."""
    sides = {}
    for side in (True, False):
        values = [
            [v for v, s in zip(row, saw, strict=True) if s == side]
            for row, saw in zip(references.tolist(), seen.tolist(), strict=True)
        ]
        means = [sum(row) / len(row) for row in values]
        squares = [sum((v - m) ** 2 for v in row) for row, m in zip(values, means, strict=True)]
        each = [q / (len(row) - 1) for q, row in zip(squares, values, strict=True)]
        shared = sum(squares) / sum(len(row) - 1 for row in values)
        sides[side] = [(m, shared if pooled else v) for m, v in zip(means, each, strict=True)]
    return [
        gaussian_log_density(x, *inside) - gaussian_log_density(x, *out)
        for x, inside, out in zip(odds.tolist(), sides[True], sides[False], strict=True)
    ]


@pytest.mark.parametrize(("n_models", "pooled"), [(6, True), (16, True), (64, False)])
def test_lira_online_is_the_ratio_of_two_gaussians(n_models, pooled):
    given = random_odds(n_models)
    naive = lira_by_loops(*given, pooled=pooled)
    assert np.abs(Lira().score_online(*given) - naive).max() < 1e-9


@pytest.mark.parametrize("n_models", [4, 16])
def test_rmia_online_is_the_log_of_p_over_the_mean_of_in_and_out(n_models):
    odds, references, seen = random_odds(n_models)

    def p(x):
        return 1 / (1 + math.exp(-x))

    naive = []
    for x, row, saw in zip(odds.tolist(), references.tolist(), seen.tolist(), strict=True):
        inside = [p(v) for v, s in zip(row, saw, strict=True) if s]
        out = [p(v) for v, s in zip(row, saw, strict=True) if not s]
        expected = (sum(inside) / len(inside) + sum(out) / len(out)) / 2
        naive.append(math.log(p(x) / expected))
    assert np.abs(Rmia().score_online(odds, references, seen) - naive).max() < 1e-9


@pytest.mark.parametrize("kind", [Lira, Rmia])
def test_online_scores_of_permuted_examples_are_permuted(kind):
    given = random_odds(16)
    order = np.random.default_rng(1).permutation(30)
    permuted = kind().score_online(*(array[order] for array in given))
    assert np.allclose(permuted, kind().score_online(*given)[order], rtol=1e-12)


@pytest.mark.parametrize("kind", [Lira, Rmia])
@pytest.mark.parametrize("n_models", [4, 16, 64])
def test_log_odds_that_are_all_equal_or_huge_have_finite_scores(kind, n_models):
    odds, references, seen = random_odds(n_models)
    same = kind().score_online(np.full(30, 5.0), np.full(references.shape, 5.0), seen)
    assert len(np.unique(same)) == 1
    assert np.isfinite(kind().score_online(1e6 * odds, 1e6 * references, seen)).all()


def test_posteriors_that_round_to_one_keep_their_order_online():
    odds = np.arange(40.0, 60.0)
    references = np.tile([45.0, 50.0], (20, 1))
    seen = np.tile([False, True], (20, 1))
    scores = log_ratio(odds, expected_odds_online(references, seen))
    assert (np.diff(scores) > 0).all()


def test_lira_offline_is_the_distance_from_the_models_that_did_not_train_on_an_example(on):
    examples = concatenate(on.members, on.nonmembers)
    shadows = on.knowledge.shadows(3)
    odds, *others = (
        [math.log(p / (1 - p)) for p in posterior(model, examples)]
        for model in (on.target, *(shadow.target for shadow in shadows))
    )
    rows = list(zip(*others, strict=True))  # the pool holds none of the examples
    means = [sum(row) / 3 for row in rows]
    squares = [sum((v - m) ** 2 for v in row) for row, m in zip(rows, means, strict=True)]
    deviation = math.sqrt(sum(squares) / (2 * len(rows)))
    naive = [(x - m) / deviation for x, m in zip(odds, means, strict=True)]

    scores = Lira(n_shadows=3).score(on.target, examples, on.knowledge, seed=0)
    assert np.abs(scores.values - naive).max() < 1e-6
