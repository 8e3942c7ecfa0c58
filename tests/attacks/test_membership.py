"""The contract that every membership attack obeys."""

import numpy as np
import pytest
import torch

from raysweep.attacks import MEMBERSHIP, metrics
from raysweep.attacks.contract import Knowledge, Scores, draw_known
from raysweep.data import Dataset, concatenate
from raysweep.errors import DataError, SpaceError
from raysweep.testing import membership
from raysweep.training.inference_model import InferenceNetwork
from raysweep.training.loop import isolated_rng
from raysweep.trial.membership_judge import judge_membership

CPU = torch.device("cpu")
TAUGHT = ("supervised", "inference_model")
QUICK = {"inference_model": {"steps": 50}}  # where it does not matter how well an attack learns


@pytest.fixture(scope="module")
def memorised():
    """The target that memorised its members, and its attacker's knowledge."""
    on = membership.stage()
    return on.target, on.members, on.nonmembers, on.knowledge


def quick(name):
    return MEMBERSHIP[name](**QUICK.get(name, {}))


@pytest.mark.parametrize("name", list(MEMBERSHIP))
@pytest.mark.parametrize("rule", membership.RULES, ids=lambda rule: rule.__name__)
def test_it_keeps_every_rule_of_the_contract(rule, name):
    learns = rule is membership.recognises_members
    rule(name, MEMBERSHIP[name]() if learns else quick(name))


def test_yeoms_threshold_is_the_mean_training_loss(memorised):
    target, members, _, knowledge = memorised
    scores = MEMBERSHIP["loss"]().score(target, members, knowledge, seed=0)
    assert scores.threshold == -target.member_loss[0]


def test_training_loss_and_known_members_are_granted_by_name_alone(memorised, monkeypatch):
    target, members, nonmembers, knowledge = memorised
    rich = Knowledge(
        pool=knowledge.pool, train_shadows=knowledge._train_shadows, known=knowledge.known
    )
    granted = []
    for name, kind in MEMBERSHIP.items():
        attack = kind()

        def spy(target, examples, knowledge, *, seed, name=name):
            granted.append(
                (name, (knowledge.training_loss is not None, knowledge.known is not None))
            )
            return Scores(values=np.arange(len(examples), dtype=float))

        object.__setattr__(attack, "score", spy)
        judge_membership(
            name,
            attack,
            target,
            members=members,
            nonmembers=nonmembers,
            knowledge=rich,
            trial_id="t",
            seed=0,
        )
    needs = {name: kind.needs for name, kind in MEMBERSHIP.items()}
    assert dict(granted) == {n: ("training-loss" in needs[n], "known" in needs[n]) for n in needs}
    assert {name for name in needs if "known" in needs[name]} >= set(TAUGHT)


def test_shadows_are_trained_once_and_are_as_large_as_the_target(memorised):
    _, members, _, knowledge = memorised
    first, again = knowledge.shadows(1)[0], knowledge.shadows(2)[0]
    assert first is again
    assert len(first.members) == len(members)
    overlap = set(first.members.indices) & set(first.nonmembers.indices)
    assert not overlap


def test_the_two_classifiers_of_the_shadow_attack_agree(memorised):
    target, members, nonmembers, knowledge = memorised
    examples, truth = concatenate(members, nonmembers), np.repeat([True, False], [120, 160])
    areas = [
        metrics.auc(
            MEMBERSHIP["shadow"](classifier=c).score(target, examples, knowledge, seed=0).values,
            truth,
        )
        for c in ("mlp", "logistic")
    ]
    assert areas[0] == pytest.approx(areas[1], abs=0.08)


@pytest.mark.parametrize("name", list(MEMBERSHIP))
def test_the_judge_leaves_only_known_examples_out_of_the_scores(name, memorised):
    _, members, nonmembers, knowledge = memorised
    record, rows = membership.judged(name, quick(name))
    for own, split, known in (
        (rows.member, members, knowledge.known.members),
        (~rows.member, nonmembers, knowledge.known.nonmembers),
    ):
        assert set(rows.example[own]) == set(split.indices) - set(known.indices)
    assert (record.n_members, record.n_nonmembers) == (60, 80)
    assert record.n_known_members == (60 if name in TAUGHT else None)


def test_the_known_are_drawn_once_by_seed(splits):
    first, again, other = (
        draw_known(splits.members, splits.nonmembers, 0.25, seed=seed) for seed in (3, 3, 4)
    )
    assert (len(first.members), len(first.nonmembers)) == (30, 15)
    assert np.array_equal(first.members.indices, again.members.indices)
    assert not np.array_equal(first.members.indices, other.members.indices)


def test_a_supervised_attack_without_known_members_says_what_it_needs(memorised):
    target, members, _, knowledge = memorised
    poor = Knowledge(pool=knowledge.pool, train_shadows=knowledge._train_shadows)
    with pytest.raises(DataError, match=r"known members and nonmembers, got none; give Knowledge"):
        MEMBERSHIP["supervised"]().score(target, members, poor, seed=0)


@pytest.mark.parametrize(
    ("own", "asked", "other"),
    [
        ("mnist", "auto", "fashion_mnist"),
        ("cifar10", "auto", "cifar100"),
        ("mnist", "cifar10", "cifar10"),
        ("digits", {"name": "mnist", "members": 9}, "mnist"),
    ],
)
def test_the_transfer_data_set_is_another_in_the_same_sizes(own, asked, other):
    dataset = Dataset.parse({"name": own, "members": 50, "nonmembers": 20})
    found = MEMBERSHIP["data_transfer"](dataset=asked).other(dataset)
    assert found.name == other
    assert (found.sizes.members, found.sizes.nonmembers) == (9 if own == "digits" else 50, 20)


@pytest.mark.parametrize(
    ("own", "asked", "message"),
    [
        ("mnist", "mnist", "must be another data set than the target's, got 'mnist'"),
        ("mnist", {"name": "mnist", "members": 9}, "must be another data set"),
        (
            "digits",
            "auto",
            "`dataset: auto` needs a target on one of mnist.*got 'digits'; name another",
        ),
        ("digits", "mnits", "unknown dataset 'mnits'; did you mean 'mnist'"),
        ("digits", {"members": 3}, "must be a name or have one"),
    ],
)
def test_a_transfer_data_set_that_cannot_serve_is_refused(own, asked, message):
    dataset = Dataset.parse({"name": own})
    with pytest.raises(SpaceError, match=message):
        MEMBERSHIP["data_transfer"](dataset=asked).other(dataset)


def test_the_inference_model_without_examples_to_learn_from_is_refused(memorised):
    target, members, _, knowledge = memorised
    alone = Knowledge(pool=knowledge.pool, known=knowledge.known)
    with pytest.raises(DataError, match="the reference nonmembers, and there are none; enlarge"):
        MEMBERSHIP["inference_model"]().score(target, members, alone, seed=0)
    taught = MEMBERSHIP["inference_model"](nonmembers="known", steps=50)
    assert len(taught.score(target, members, alone, seed=0).values) == len(members)


def test_the_inference_model_does_not_depend_on_the_names_of_classes():
    logits, labels = (
        torch.randn(6, 5, generator=torch.Generator().manual_seed(0)),
        torch.arange(6) % 5,
    )
    with isolated_rng(0, CPU):
        model = InferenceNetwork(5)
    names = torch.tensor([3, 0, 4, 1, 2])  # class k is called names[k]
    renamed = torch.empty_like(logits)
    renamed[:, names] = logits
    assert torch.equal(model(renamed, names[labels]), model(logits, labels))
    assert not torch.allclose(model(logits, (labels + 1) % 5), model(logits, labels))


@pytest.mark.slow
def test_the_inference_model_finds_more_than_correct_predictions(memorised):
    """The least that an attack with the label can do (Yeom et al. 2018)."""
    target, members, nonmembers, _ = memorised
    right = [
        (target.logits(split).argmax(axis=1) == split.labels).mean()
        for split in (members, nonmembers)
    ]
    assert right[0] - right[1] > 0.3
    record, _ = membership.judged("inference_model", MEMBERSHIP["inference_model"]())
    assert record.advantage > right[0] - right[1], record
