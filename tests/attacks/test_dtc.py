"""Distance to confident: closed form, slow twin, and what its figures mean."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from raysweep.attacks.contract import Knowledge
from raysweep.attacks.membership import distances
from raysweep.attacks.membership.dtc import Dtc
from raysweep.config import Training
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.models import MODELS
from raysweep.training import signals
from raysweep.training.loop import train
from raysweep.training.recipe import plain_recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial.membership_judge import judge_membership

CPU = torch.device("cpu")
STEP, STEPS = 0.001, 100


def split(features, labels, n_classes=2):
    x = np.asarray(features, np.float32)
    y = np.asarray(labels, np.int64)
    return Split(features=x, labels=y, indices=np.arange(len(y)), top=1.0, n_classes=n_classes)


def target_of(model, members):
    return TrainedTarget(
        model=model.eval(), n_classes=2, privacy=None, _members=members, device=CPU
    )


def one_pixel(slope):
    """Softmax regression of two classes on one pixel: log-odds of class 1 = slope * pixel."""
    layer = nn.utils.skip_init(nn.Linear, 1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0], [slope]]))
        layer.bias.zero_()
    return layer


def scored(model, examples, median):
    target = target_of(model, examples)
    knowledge = Knowledge(pool=examples, training_loss=(9.0, median))
    return Dtc().score(target, examples, knowledge, seed=0)


@pytest.fixture(scope="module")
def cnn(splits):
    """A small convolutional target that memorised its 120 digits."""
    build = MODELS["thesis_cnn"](widths=(8, 16, 16), dense=32).build
    recipe = plain_recipe(build, Training(epochs=30, batch_size=16, learning_rate=1e-2))
    return train(recipe, splits.members, seed=0, device=CPU)


def plain_loop(model, examples, threshold):
    """Return the distances as the definition says them: one example, one step at a time."""
    found = []
    pixels = torch.from_numpy(examples.pixels())
    for x, label in zip(pixels, torch.from_numpy(examples.labels), strict=True):
        moved, distance = x.clone(), STEP * STEPS
        for taken in range(STEPS + 1):
            moved = moved.detach().requires_grad_()
            loss = F.cross_entropy(model(moved[None]), label[None])
            if taken > 0 and loss < threshold:
                distance = min(max(float((moved.detach() - x).abs().max()), STEP), STEP * STEPS)
                break
            (slope,) = torch.autograd.grad(loss, moved)
            moved = (moved - STEP * slope.sign()).clamp(0, 1)
        found.append(distance)
    return np.array(found)


@pytest.mark.parametrize("label", [0, 1])
def test_softmax_regression_on_one_pixel_has_its_closed_form(label):
    slope, median = 20.0, 0.3
    pixels = np.linspace(0.2, 0.8, 41)
    found = scored(one_pixel(slope), split(pixels[:, None], np.full(41, label)), median).distances
    start = slope * pixels * (1 if label else -1)
    needed = -np.log(np.expm1(median))  # log-odds of the label at the median loss
    steps = np.maximum(1, np.ceil((needed - start) / (slope * STEP)))
    np.testing.assert_allclose(found.values, np.minimum(steps, STEPS) * STEP, atol=1e-6)
    assert np.array_equal(found.reached, steps <= STEPS)
    assert np.array_equal(found.unsure, start <= needed)


@pytest.mark.slow
def test_a_batch_of_any_size_measures_what_the_plain_loop_measures(cnn, splits, monkeypatch):
    examples, median = splits.nonmembers, cnn.member_loss[1]
    slow = plain_loop(cnn.model, examples, median)
    assert len(np.unique(slow)) > 5
    knowledge = Knowledge(pool=splits.pool, training_loss=cnn.member_loss)
    for at_once in (7, 256):
        monkeypatch.setattr(distances, "CPU_BATCH", at_once)
        fast = Dtc().score(cnn, examples, knowledge, seed=0).distances.values
        assert (np.abs(fast - slow) < 1e-5).mean() >= 0.95  # a rounded sign may cost or save a step
        assert np.abs(fast - slow).max() < 2.5 * STEP


def test_inputs_stay_in_their_range(cnn, splits):
    seen = []
    watch = cnn.model.register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0].detach().aminmax())
    )
    distances.distances(cnn.model, splits.nonmembers, threshold=1e-9, step=0.05, steps=20)
    watch.remove()
    assert (min(low for low, _ in seen), max(high for _, high in seen)) == (0.0, 1.0)


def test_an_example_that_is_never_confident_is_flagged_at_the_largest_distance():
    found = scored(one_pixel(1.0), split([[0.1], [0.5]], [1, 1]), 0.01)
    assert found.distances.values == pytest.approx([0.1, 0.1])
    assert not found.distances.reached.any()
    assert found.values[1] > found.values[0]  # a tie, told by the smaller loss


def test_ties_are_broken_by_the_loss_however_confident_the_model_is():
    model, pixels = one_pixel(300.0), np.array([[0.3], [0.5], [0.9]])
    found = scored(model, split(pixels, [1, 1, 1]), 0.2)
    assert found.distances.values == pytest.approx([STEP] * 3)
    assert np.all(np.diff(found.values) > 0)
    assert np.all(signals.cross_entropy(np.c_[np.zeros(3), 300 * pixels], np.ones(3, int)) < 1e-38)


def test_the_gaps_are_those_of_their_examples(cnn, splits):
    knowledge = Knowledge(pool=splits.pool)
    record, rows = judge_membership(
        "dtc",
        Dtc(),
        cnn,
        members=splits.members,
        nonmembers=splits.nonmembers,
        knowledge=knowledge,
        trial_id="t",
        seed=0,
    )
    values = -rows.score
    inside, outside = values[rows.member].mean(), values[~rows.member].mean()
    assert record.distance_members == pytest.approx(inside, rel=1e-3)
    assert record.distance_gap == pytest.approx(1 - inside / outside, abs=1e-3)
    assert 0 < record.distance_gap_low <= record.distance_gap <= record.distance_gap_high < 1
    assert record.n_unsure_members == 60  # the median splits the members
    assert record.unsure_distance_members > record.distance_members
    assert record.unreached_nonmembers == pytest.approx((~rows.reached[~rows.member]).mean())


def test_without_the_median_loss_it_says_what_it_needs(cnn, splits):
    poor = Knowledge(pool=splits.pool)
    with pytest.raises(DataError, match=r"members' median loss, got none"):
        Dtc().score(cnn, splits.members, poor, seed=0)
