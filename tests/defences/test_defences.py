"""The contract of every defence; a new one is covered once it is in the catalogue."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import DIGITS

from raysweep import data, defences
from raysweep.config import Training
from raysweep.config.registry import fields
from raysweep.defences import Defences, dpsgd
from raysweep.errors import DataError, SpaceError
from raysweep.models import MODELS
from raysweep.testing import defences as contract
from raysweep.training.loop import train

CPU = torch.device("cpu")
CATALOGUE = defences.DEFENCES


def weights(recipe_, splits):
    target = train(recipe_, splits.members, seed=0, device=CPU)
    return torch.cat([p.detach().flatten() for p in target.model.parameters()])


@pytest.fixture(scope="module")
def splits():
    """The digits with a reference set, which adversarial regularisation needs."""
    return data.load({**DIGITS, "reference": 60}, seed=0)


@pytest.mark.parametrize("kind", CATALOGUE)
@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_it_keeps_every_rule_of_the_contract(rule, kind):
    rule(kind, {})


@pytest.mark.parametrize("kind", CATALOGUE)
def test_zero_strength_is_plain_training(kind, splits):
    neutral = Defences.parse({})
    defended = neutral.apply(contract.recipe(), splits.reference)
    assert kind().is_neutral
    assert torch.equal(weights(defended, splits), weights(contract.recipe(), splits))


@pytest.mark.parametrize("kind", CATALOGUE)
def test_no_two_defences_share_a_key(kind):
    others = [key for other in CATALOGUE if other is not kind for key in fields(other)]
    assert not set(fields(kind)) & set(others)


PAIRS = list(itertools.combinations(CATALOGUE, 2))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(k.__name__ for k in pair))
def test_each_of_two_defences_acts_beside_the_other(pair):
    contract.acts_beside(*pair)


@pytest.mark.parametrize("private", [True, False])
def test_all_defences_that_may_stand_together_act_together(splits, private):
    left_out = defences.BREAK_PRIVACY if private else (dpsgd.DPSGD,)
    chosen = [contract.setting(kind) for kind in CATALOGUE if kind not in left_out]
    values = {key: value for setting in chosen for key, value in setting.items()}
    together = Defences.parse(values).apply(contract.recipe(), splits.reference)
    target = train(together, splits.members, seed=0, device=CPU)
    assert (target.privacy is not None) == private
    assert any(isinstance(m, torch.nn.Dropout) for m in target.model.modules())
    assert any(isinstance(m, torch.nn.Dropout2d) for m in target.model.modules())


@pytest.mark.parametrize("kind", defences.BREAK_PRIVACY)
@pytest.mark.parametrize("budget", [{"epsilon": 4.0}, {"noise_multiplier": 1.0}])
def test_defences_that_break_dp_are_refused_with_the_reason(kind, budget):
    with pytest.raises(SpaceError, match="is trained on the members without noise"):
        Defences.parse({**contract.setting(kind), **budget})
    Defences.parse({**contract.setting(kind), "epsilon": math.inf})


@pytest.mark.parametrize(("scope", "factor"), [("output", 2.0), ("all", 1.0)])
def test_l2_has_the_gradient_that_its_scope_promises(scope, factor):
    from raysweep.defences.l2 import L2

    with torch.random.fork_rng():
        model = MODELS["mlp"](hidden=(4,)).build((6,), 3)
    penalty = L2(l2=0.3, l2_scope=scope).apply(contract.recipe(), None).penalty
    penalty(model).backward()
    named = dict(model.named_parameters())
    kernel = named["output.weight"]
    assert torch.allclose(kernel.grad, factor * 0.3 * kernel)
    assert (named["dense1.0.weight"].grad is None) == (scope == "output")


def test_l2_on_the_output_needs_a_linear_layer():
    from raysweep.defences.l2 import output_kernel
    from raysweep.errors import ModelError

    with pytest.raises(ModelError, match="use `l2_scope: all`"):
        output_kernel(torch.nn.Sequential(torch.nn.ReLU()))


def test_an_unknown_defence_lists_the_known_ones():
    with pytest.raises(SpaceError, match="did you mean 'dropout'"):
        Defences.parse({"dropuot": 0.1})


def built(name, **values):
    (kind,) = (kind for kind in CATALOGUE if kind.__name__ == name)
    return kind(**values)


def seen_losses(recipe_, members):
    """Return the loss of each epoch of a training."""
    losses = []
    train(recipe_, members, seed=0, device=CPU, on_epoch=lambda e: not losses.append(e.loss))
    return losses


def test_smoothed_targets_are_a_mixture_with_the_even_distribution():
    loss = built("LabelSmoothing", label_smoothing=0.3).apply(contract.recipe(), None).loss
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0])
    targets = 0.7 * F.one_hot(labels, 4) + 0.3 / 4
    expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1)
    assert torch.allclose(loss(logits, labels), expected)
    assert torch.allclose(loss(logits, F.one_hot(labels, 4).float()), expected)
    assert torch.allclose(
        loss(logits, labels), F.cross_entropy(logits, labels, reduction="none", label_smoothing=0.3)
    )


def test_a_students_labels_are_its_teachers_posteriors_at_the_temperature(splits):
    plain = contract.recipe(epochs=8, batch_size=16)
    (cold, hot) = (
        built("Distillation", distillation_temperature=t)
        .apply(plain, splits.reference)
        .relabel(splits.members, seed=3, device=CPU)
        for t in (1.0, 20.0)
    )
    teacher = train(plain, splits.members, seed=3, device=CPU)
    logits = torch.from_numpy(teacher.logits(splits.members))
    assert torch.allclose(cold, torch.softmax(logits, dim=1))
    assert torch.allclose(hot, torch.softmax(logits / 20, dim=1))
    assert hot.max() < cold.max()


def test_a_teacher_is_undefended_whatever_its_student_has(splits):
    values = {"distillation_temperature": 5.0, "dropout": 0.5, "early_stopping": 1}
    both = Defences.parse(values).apply(contract.recipe(), splits.reference)
    alone = Defences.parse({"distillation_temperature": 5.0}).apply(
        contract.recipe(), splits.reference
    )
    labels = [r.relabel(splits.members, seed=3, device=CPU) for r in (both, alone)]
    assert torch.equal(*labels)


def test_a_crop_is_a_window_of_the_padded_image():
    augment = built("RandomCrop", random_crop=2).apply(contract.recipe(), None).augment
    x = torch.rand(40, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        cropped = augment(x)
    assert cropped.shape == x.shape
    padded = F.pad(x, (2, 2, 2, 2))
    places = set()
    for before, after in zip(padded, cropped, strict=True):
        found = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if torch.equal(before[:, i : i + 5, j : j + 6], after)
        ]
        assert found
        places.update(found)
    assert len(places) > 12


def test_noise_has_its_sigma_and_stays_among_pixels():
    augment = built("GaussianNoise", gaussian_noise=0.1).apply(contract.recipe(), None).augment
    with torch.random.fork_rng():
        grey, black = augment(torch.full((1000, 1, 8, 8), 0.5)), augment(torch.zeros(9, 1, 8, 8))
    assert float((grey - 0.5).std()) == pytest.approx(0.1, rel=0.02)
    assert black.min() == 0.0
    assert black.max() > 0.0


def test_inputs_are_cropped_before_noise_is_added_and_an_empty_batch_passes():
    values = {"random_crop": 7, "gaussian_noise": 0.2}
    augment = Defences.parse(values).apply(contract.recipe(), None).augment
    with torch.random.fork_rng():
        seen = augment(torch.ones(200, 1, 8, 8))
        assert augment(torch.ones(0, 1, 8, 8)).shape == (0, 1, 8, 8)
    padding = seen[seen < 0.5]  # noise falls on the padding too
    assert len(padding.unique()) > 100


def test_early_stopping_gives_the_model_as_it_is_after_that_epoch(splits):
    kept = {}

    def keep(epoch):
        parameters = [p.detach().flatten().clone() for p in epoch.model.parameters()]
        kept[epoch.number] = torch.cat(parameters)
        return True

    train(contract.recipe(epochs=4), splits.members, seed=0, device=CPU, on_epoch=keep)
    stopped = built("EarlyStopping", early_stopping=2).apply(
        contract.recipe(epochs=4), splits.reference
    )
    assert torch.equal(weights(stopped, splits), kept[2])


def test_early_stopping_spends_the_whole_budget_on_the_epochs_that_it_takes(splits):
    values = {"epsilon": 4.0, "early_stopping": 2}
    stopped = Defences.parse(values).apply(contract.recipe(epochs=8), splits.reference)
    spent = train(stopped, splits.members, seed=0, device=CPU).privacy
    assert spent.steps == 4
    assert 0.99 * 4.0 < spent.epsilon <= 4.0


def test_the_inner_adversary_changes_the_loss_only_after_the_first_epoch(splits):
    strong = built("AdversarialRegularisation", adversarial_regularisation=5.0, adversary_batches=9)
    plain, defended = (
        contract.recipe(epochs=3),
        strong.apply(contract.recipe(epochs=3), splits.reference),
    )
    ours, theirs = seen_losses(defended, splits.members), seen_losses(plain, splits.members)
    assert ours[0] == theirs[0]
    assert ours[1] != theirs[1]


def test_the_inner_adversary_learns_to_recognise_members(splits):
    """The target memorises random labels, so its members are easy to recognise."""
    rng = np.random.default_rng(0)
    members, reference = (
        dataclasses.replace(split, labels=rng.integers(0, 10, len(split)))
        for split in (splits.members, splits.reference)
    )
    plain = contract.recipe(epochs=60, batch_size=16, learning_rate=1e-2)
    target = train(plain, members, seed=0, device=CPU)
    strong = built("AdversarialRegularisation", adversarial_regularisation=1.0)
    adversary = strong.apply(plain, reference).companion(members, seed=0, device=CPU)
    for _ in range(12):
        adversary.update(target.model)
    inside, outside = (
        adversary.penalty(
            torch.from_numpy(target.logits(split)), torch.from_numpy(split.labels)
        ).mean()
        for split in (members, reference)
    )
    assert inside > 0 > outside
    assert not any(p.requires_grad for p in adversary._training.model.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_smoothing": 1.0}, "less than 1"),
        ({"distillation_temperature": 0.5}, "at least 1"),
        ({"early_stopping": 2.5}, "whole number of epochs"),
        ({"random_crop": -1}, "greater than or equal to 0"),
        ({"reference_size": 0.5}, "greater than or equal to 1"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named(values, message):
    with pytest.raises(SpaceError, match=message):
        Defences.parse(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"random_crop": 8}, r"must be below the image's smaller side, 8, got 8"),
        (
            {"adversarial_regularisation": 1.0, "reference_size": 61},
            "at most the size of the reference split, 60, got 61",
        ),
    ],
)
def test_a_defence_that_the_data_do_not_allow_is_named(values, message, splits):
    with pytest.raises(DataError, match=message):
        Defences.parse(values).check(splits)


def test_cropping_records_and_an_empty_reference_set_are_refused(splits):
    flat = dataclasses.replace(
        splits.members, features=splits.members.features.reshape(len(splits.members), -1)
    )
    with pytest.raises(DataError, match="needs images"):
        Defences.parse({"random_crop": 1}).check(dataclasses.replace(splits, members=flat))
    empty = dataclasses.replace(splits, reference=splits.reference.rows(np.array([], int)))
    with pytest.raises(DataError, match=r"give dataset\.reference"):
        Defences.parse({"adversarial_regularisation": 1.0}).check(empty)


def test_stopping_after_the_last_epoch_is_neutral_and_later_is_refused():
    training = Training(epochs=5)
    neutral = Defences.parse({})
    assert Defences.parse({"early_stopping": 5.0}).limit(training) == neutral
    with pytest.raises(SpaceError, match=r"at most training\.epochs = 5, got 6"):
        Defences.parse({"early_stopping": 6.0}).limit(training)
