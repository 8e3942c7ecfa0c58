"""MI-Face: closed forms, a slow twin, classes that do not converge; and the face recogniser."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from raysweep.attacks import INVERSION
from raysweep.attacks.contract import Knowledge, Observed
from raysweep.attacks.inversion.mi_face import rescale
from raysweep.config import Training
from raysweep.models import MODELS
from raysweep.training.loop import train
from raysweep.training.recipe import plain_recipe
from raysweep.training.target import TrainedTarget
from raysweep.trial import face_recogniser as recogniser
from raysweep.trial.inversion_judge import Classes, judge_inversion

CPU = torch.device("cpu")


def linear(weight, members, bias=0.0):
    """Return a softmax regression of two classes: log-odds of class 1 = weight . x + bias."""
    weight = torch.as_tensor(weight, dtype=torch.float32).flatten()
    layer = nn.utils.skip_init(nn.Linear, len(weight), 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros_like(weight), weight]))
        layer.bias.copy_(torch.tensor([0.0, bias]))
    model = nn.Sequential(nn.Flatten(), layer).eval()
    return TrainedTarget(model=model, n_classes=2, privacy=None, _members=members, device=CPU)


@pytest.fixture(scope="module")
def softmax(splits):
    recipe = plain_recipe(MODELS["softmax"]().build, Training(epochs=20, learning_rate=1e-2))
    return train(recipe, splits.members, seed=0, device=CPU)


def rebuilt(target, pool, classes, seed=0, **parameters):
    observed = Observed(layer=None, activations=None, labels=np.arange(classes))
    knowledge = Knowledge(pool=pool)
    return INVERSION["mi_face"](**parameters).reconstruct(target, observed, knowledge, seed=seed)


def plain_loop(target, label, shape, *, step_size, steps, patience, tolerance, clip):
    """Return the image and its cost as Fredrikson et al. write them: one class at a time."""
    x, costs, best = torch.zeros(1, *shape), [], None
    for _ in range(steps + 1):
        x = x.detach().requires_grad_()
        cost = 1 - target.model(x).softmax(dim=1)[0, label]
        costs.append(float(cost.detach()))
        if costs[-1] < min(costs[:-1], default=2.0):
            best = x.detach()[0].clone()
        if costs[-1] <= tolerance or min(costs[-patience:]) >= min(costs[:-patience], default=2.0):
            break
        cost.backward()
        x = x - step_size * x.grad
        x = x.clamp(0, 1) if clip else x
    return (best if clip else rescale(best[None])[0]).numpy(), min(costs)


def test_one_step_on_softmax_regression_is_its_gradient(splits):
    weight = np.linspace(-1, 3, 64)
    found = rebuilt(linear(weight, splits.pool, bias=-0.4), splits.pool, 2, steps=1, step_size=0.3)
    p = 1 / (1 + np.exp(0.4))
    expected = [np.clip(sign * 0.3 * p * (1 - p) * weight, 0, 1) for sign in (-1, 1)]
    np.testing.assert_allclose(found.images.reshape(2, -1), expected, atol=1e-6)


def test_raw_pixels_on_softmax_regression_are_its_weights(splits):
    weight = np.random.default_rng(0).normal(size=64)
    found = rebuilt(linear(weight, splits.pool), splits.pool, 2, pixels="raw", step_size=1.0)
    for image, direction in zip(found.images, (-weight, weight), strict=True):
        filled = (direction - direction.min()) / np.ptp(direction)
        np.testing.assert_allclose(image.ravel(), filled, atol=1e-4)
    assert found.converged.all()
    assert np.all(found.cost <= 0.01)


@pytest.mark.parametrize("pixels", ["clip", "raw"])
def test_all_classes_at_once_are_what_each_is_alone(pixels, softmax, splits):
    given = {"step_size": 0.5, "steps": 150, "patience": 20, "tolerance": 0.02}
    found = rebuilt(softmax, splits.pool, 10, pixels=pixels, **given)
    for label in range(10):
        image, cost = plain_loop(softmax, label, (1, 8, 8), clip=pixels == "clip", **given)
        np.testing.assert_allclose(found.images[label], image, atol=1e-4)
        assert found.cost[label] == pytest.approx(cost, abs=1e-5)
        assert found.converged[label] == (cost <= 0.02)


def test_the_best_image_is_kept_when_the_way_down_overshoots(splits):
    target = linear(np.full(64, 2.0), splits.pool, bias=-120.0)
    steep = rebuilt(target, splits.pool, 2, step_size=1e9, restarts=2, steps=20, patience=20)
    seen = torch.from_numpy(steep.images)
    again = 1 - target.model(seen).softmax(dim=1).detach().numpy()[[0, 1], [0, 1]]
    np.testing.assert_allclose(steep.cost, again, atol=1e-6)


def test_more_restarts_never_cost_more(softmax, splits):
    costs = [
        rebuilt(softmax, splits.pool, 10, restarts=n, steps=30, step_size=0.2).cost for n in (0, 3)
    ]
    assert np.all(costs[1] <= costs[0] + 1e-6)


def test_classes_that_do_not_converge_are_reported_with_the_others(softmax, splits):
    record, rows = judge_inversion(
        "mi_face",
        INVERSION["mi_face"](steps=1, step_size=0.01),
        None,
        softmax,
        members=splits.members,
        nonmembers=splits.nonmembers,
        knowledge=Knowledge(pool=splits.pool),
        trial_id="t",
        seed=0,
    )
    assert (record.n_rebuilt, record.converged, record.converged_share) == (10, False, 0.0)
    assert record.cost > 0.5
    assert rows.label.tolist() == list(range(10))
    assert record.mse == pytest.approx(rows.mse.mean())


def test_an_image_of_a_single_grey_is_left_as_it_is():
    grey = torch.full((1, 1, 2, 2), 0.25)
    assert torch.equal(rescale(grey), grey)


def test_a_class_is_held_against_its_nearest_member(splits):
    members = splits.members
    images = np.random.default_rng(0).random((10, 1, 8, 8)).astype(np.float32)
    subject = Classes(members=members, nonmembers=splits.nonmembers, seed=0)
    found = subject.originals(images)
    assert found.labels.tolist() == list(range(10))
    errors = ((members.pixels()[:, None] - images[None]) ** 2).mean(axis=(2, 3, 4))
    for label in range(10):
        own = members.labels == label
        nearest = members.indices[own][errors[own, label].argmin()]
        assert found.indices[label] == nearest


def test_the_face_recogniser_is_linear_discriminant_analysis(splits):
    real, fresh = splits.members, splits.validation
    eye = recogniser.fit(real.pixels(), real.labels)
    x, z = recogniser.standardise(real.pixels()), recogniser.standardise(fresh.pixels())
    same = np.full(10, 0.1)
    known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=recogniser.SHRINKAGE, priors=same)
    assert (eye.names(fresh.pixels()) == known.fit(x, real.labels).predict(z)).mean() >= 0.97
    assert eye.accuracy(fresh.pixels(), fresh.labels) > 0.8


def test_the_face_recogniser_ignores_brightness_and_contrast(splits):
    real, fresh = splits.members, splits.validation.pixels()
    eye = recogniser.fit(real.pixels(), real.labels)
    assert np.array_equal(eye.names(fresh), eye.names(0.3 + 0.1 * fresh))


def test_the_face_recogniser_takes_more_pixels_than_images(splits):
    pixels = splits.members.pixels()
    wide = np.concatenate([pixels, np.zeros_like(pixels)], axis=-1)
    eye = recogniser.fit(wide[:100], splits.members.labels[:100])
    assert eye.accuracy(wide[100:], splits.members.labels[100:]) > 0.6
