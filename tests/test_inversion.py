"""The contract that every inversion attack obeys."""

import numpy as np
import pytest
import torch

from raysweep.attacks import Knowledge, Observed, floors, judge_inversion
from raysweep.config import Training
from raysweep.decoders import convolutional, ridge
from raysweep.inversion import INVERSION
from raysweep.models import MODELS
from raysweep.train import plain_recipe, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def undefended(splits):
    build = MODELS["mlp"](hidden=(32,), activation="tanh").build
    recipe = plain_recipe(build, Training(epochs=10, batch_size=16, learning_rate=1e-2))
    target = train(recipe, splits.members, seed=0, device=CPU)
    return target, Knowledge(pool=splits.pool, train_shadow=lambda _: None)


def attack(name, **parameters):
    return INVERSION[name](layers=("dense1", "output"), **parameters)


def rebuilt(name, undefended, split, layer="output", seed=0, **parameters):
    target, knowledge = undefended
    observed = Observed(
        layer=layer, activations=target.activations(split, layer), labels=split.labels
    )
    return attack(name, **parameters).reconstruct(target, observed, knowledge, seed=seed)


@pytest.mark.parametrize("name", list(INVERSION))
@pytest.mark.parametrize("layer", ["dense1", "output"])
def test_it_beats_the_mean_image_on_an_undefended_target(name, layer, undefended, splits):
    target, knowledge = undefended
    record, rows = judge_inversion(
        name,
        attack(name),
        layer,
        target,
        members=splits.members,
        knowledge=knowledge,
        trial_id="t",
        seed=0,
    )
    assert record.mse < record.floor_mean
    assert record.converged
    assert rows.image.shape == rows.original.shape == (16, 1, 8, 8)


@pytest.mark.parametrize("name", list(INVERSION))
def test_images_have_their_shape_and_range(name, undefended, splits):
    found = rebuilt(name, undefended, splits.members)
    assert found.images.shape == (120, 1, 8, 8)
    assert 0 <= found.images.min() <= found.images.max() <= 1
    assert found.converged.shape == (120,)


@pytest.mark.parametrize("name", list(INVERSION))
def test_the_same_seed_rebuilds_the_same(name, undefended, splits):
    first, again = (rebuilt(name, undefended, splits.members) for _ in range(2))
    assert np.array_equal(first.images, again.images)


def test_the_decoder_that_counts_is_the_better_one_on_held_out_pool_data(undefended, splits):
    target, _ = undefended
    activations = target.activations(splits.pool, "dense1")
    images = splits.pool.pixels().reshape(200, -1)
    held_out = np.arange(200) % 5 == 0
    one = ridge.fit(activations, images, held_out, seed=0)
    other = convolutional.fit(
        activations, images, held_out, (1, 8, 8), epochs=2, seed=0, device=CPU
    )
    assert one.held_out_mse < other.held_out_mse
    assert rebuilt("activation_decoder", undefended, splits.members, "dense1").decoder == "ridge"


def test_ridge_rebuilds_a_linear_layer_exactly():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 12, generator=generator)
    layer = torch.randn(12, 70, generator=generator)
    found = ridge.fit(images @ layer, images.numpy(), np.arange(300) % 5 == 0, seed=0)
    fresh = torch.rand(50, 12, generator=generator)
    assert np.abs(found.decode(fresh @ layer) - fresh.numpy()).max() < 1e-3


def test_ridge_on_noise_falls_back_to_the_mean_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 9, generator=generator).numpy()
    noise = torch.randn(400, 100, generator=generator)
    found = ridge.fit(noise, images, np.arange(400) % 5 == 0, seed=0)
    assert found.held_out_mse == pytest.approx(images.var(axis=0).mean(), rel=0.08)


def test_wide_layers_are_projected_and_still_rebuilt():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 10, generator=generator)
    wide = images @ torch.randn(10, 5000, generator=generator)
    found = ridge.fit(wide, images.numpy(), np.arange(400) % 5 == 0, seed=0)
    assert found.held_out_mse < 1e-3


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 13), (30,)])
def test_the_thesis_adversary_takes_every_shape_and_learns(shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(200, int(np.prod(shape)), generator=generator)
    seen = torch.cat([images, torch.randn(200, 5, generator=generator)], dim=1)
    held_out = np.arange(200) % 5 == 0
    fits = [
        convolutional.fit(
            seen, images.numpy(), held_out, shape, epochs=e, seed=0, device=CPU
        ).held_out_mse
        for e in (1, 20)
    ]
    assert fits[1] < fits[0]


def test_the_floors_are_the_mean_image_and_the_class_means(splits):
    mean, by_class = floors(splits.pool, splits.members)
    pool, members = splits.pool.pixels(), splits.members.pixels()
    assert mean == pytest.approx(float(((members - pool.mean(axis=0)) ** 2).mean()), rel=1e-4)
    assert by_class < mean


def test_an_attack_that_is_not_finite_is_missing_and_not_safe(undefended, splits):
    from raysweep.attacks import Reconstruction

    class Broken:
        layers = ("output",)

        def reconstruct(self, target, observed, knowledge, *, seed):
            images = np.full((len(observed.labels), 1, 8, 8), np.nan, np.float32)
            return Reconstruction(images=images, converged=np.ones(len(images), bool))

    import dataclasses

    target, knowledge = undefended
    record, _ = judge_inversion(
        "broken",
        dataclasses.dataclass(Broken)(),
        "output",
        target,
        members=splits.members,
        knowledge=knowledge,
        trial_id="t",
        seed=0,
    )
    assert record.mse is None
    assert record.converged is False
