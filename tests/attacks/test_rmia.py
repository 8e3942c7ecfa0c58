"""The likelihood ratio of RMIA: as the paper defines it, fine near 1, and set on shadows alone."""

import math

import numpy as np
import pytest

from raysweep.attacks import MEMBERSHIP, Attacks
from raysweep.attacks.contract import Knowledge
from raysweep.attacks.membership.rmia import CHOICES, Rmia, expected_odds, log_ratio
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
