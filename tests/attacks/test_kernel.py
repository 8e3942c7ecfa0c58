"""The kernel decoder: scikit-learn's regression, its choices, and its cost beyond some rows."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from raysweep.attacks.inversion import kernel, ridge
from raysweep.testing import inversion


def seen_and_images(rows, features=6, pixels=12, *, seed=0):
    """Return activations that say something of images, but not linearly, and the held-out rows."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(rows, pixels, generator=generator)
    mixed = (images - 0.5) @ torch.randn(pixels, features, generator=generator)
    noise = 0.1 * torch.randn(rows, features, generator=generator)
    return torch.sin(3 * mixed) + noise, images.numpy(), np.arange(rows) % 5 == 0


@pytest.mark.parametrize(("width", "strength"), [(0.3, 0.01), (0.1, 1e-5), (3.0, 1.0)])
def test_its_images_are_those_of_scikit_learn(monkeypatch, width, strength):
    monkeypatch.setattr(kernel, "WIDTHS", (width,))
    monkeypatch.setattr(kernel, "STRENGTHS", (strength,))
    seen, images, held_out = seen_and_images(300)
    found = kernel.fit_kernel(seen, images, held_out, seed=0)

    x, y = seen.double().numpy(), images.astype(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    reference = KernelRidge(alpha=strength, kernel="rbf", gamma=width / 6)

    everything = reference.fit(x, y - y.mean(axis=0)).predict(x) + y.mean(axis=0)
    np.testing.assert_allclose(found.decode(seen), everything.clip(0, 1), atol=1e-6)

    fit, mean = ~held_out, y[~held_out].mean(axis=0)
    guess = (reference.fit(x[fit], y[fit] - mean).predict(x[held_out]) + mean).clip(0, 1)
    assert found.held_out_mse == pytest.approx(((guess - y[held_out]) ** 2).mean(), abs=1e-9)


@pytest.mark.parametrize("layer", [None, "output", "dense1"])
def test_it_takes_the_width_and_strength_with_the_least_held_out_error(monkeypatch, splits, layer):
    seen, images, held_out = seen_and_images(200)
    if layer is not None:
        target, _ = inversion.undefended()
        seen = target.activations(splits.pool, layer)
        images = splits.pool.pixels().reshape(len(seen), -1)
        held_out = np.arange(len(seen)) % 5 == 0
    best = kernel.fit_kernel(seen, images, held_out, seed=0).held_out_mse
    errors = []
    for width in kernel.WIDTHS:
        for strength in kernel.STRENGTHS:
            with monkeypatch.context() as patch:
                patch.setattr(kernel, "WIDTHS", (width,))
                patch.setattr(kernel, "STRENGTHS", (strength,))
                errors.append(kernel.fit_kernel(seen, images, held_out, seed=0).held_out_mse)
    assert best == pytest.approx(min(errors), rel=1e-9)


def test_predictions_are_inverted_better_than_by_ridge(splits):
    target, _ = inversion.undefended()
    outputs, images = target.activations(splits.pool, "output"), splits.pool.pixels()
    given = outputs, images.reshape(len(images), -1), np.arange(len(images)) % 5 == 0
    by_kernel, by_ridge = kernel.fit_kernel(*given, seed=0), ridge.fit_ridge(*given, seed=0)
    assert by_kernel.held_out_mse < by_ridge.held_out_mse

    members = target.activations(splits.members, "output")
    real = splits.members.pixels().reshape(len(members), -1)
    errors = [((x.decode(members) - real) ** 2).mean() for x in (by_kernel, by_ridge)]
    assert errors[0] < 0.98 * errors[1]


def test_random_waves_stand_for_the_kernel_of_many_rows(monkeypatch):
    seen, images, held_out = seen_and_images(900)
    exact = kernel.fit_kernel(seen, images, held_out, seed=0)
    monkeypatch.setattr(kernel, "MOST_EXACT", 500)
    monkeypatch.setattr(kernel, "N_SAMPLED", 500)
    monkeypatch.setattr(kernel, "N_WAVES", 400)
    waves, again, other = (kernel.fit_kernel(seen, images, held_out, seed=s) for s in (0, 0, 1))

    fresh, _, _ = seen_and_images(300, seed=1)
    assert waves.held_out_mse == pytest.approx(exact.held_out_mse, rel=0.03)
    np.testing.assert_array_equal(waves.decode(fresh), again.decode(fresh))
    assert np.abs(waves.decode(fresh) - other.decode(fresh)).max() > 0
    assert waves.held_out_mse < images.var(axis=0).mean()


def test_a_layer_that_says_nothing_gives_the_mean_image():
    _, images, held_out = seen_and_images(100)
    dead = kernel.fit_kernel(torch.zeros(100, 70), images, held_out, seed=0)
    np.testing.assert_allclose(dead.decode(torch.zeros(2, 70))[0], images.mean(axis=0), atol=1e-6)

    noise = torch.randn(100, 70, generator=torch.Generator().manual_seed(1))
    found = kernel.fit_kernel(noise, images, held_out, seed=0)
    assert found.held_out_mse == pytest.approx(images.var(axis=0).mean(), rel=0.1)


def test_a_unit_that_is_dead_on_the_pool_does_not_hide_the_others():
    seen, images, held_out = seen_and_images(200)
    beside = kernel.fit_kernel(
        torch.cat([seen, torch.zeros(200, 1)], dim=1), images, held_out, seed=0
    )
    silent, awake = (torch.cat([seen, torch.full((200, 1), x)], dim=1) for x in (0.0, 0.5))
    np.testing.assert_array_equal(beside.decode(awake), beside.decode(silent))


def test_wide_layers_are_projected_and_still_rebuilt():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 10, generator=generator)
    wide = images @ torch.randn(10, 5000, generator=generator)
    found = kernel.fit_kernel(wide, images.numpy(), np.arange(400) % 5 == 0, seed=0)
    assert found.held_out_mse < 1e-3
