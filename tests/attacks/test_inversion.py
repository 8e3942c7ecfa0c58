"""The contract that every inversion attack obeys."""

import dataclasses

import numpy as np
import pytest
import torch

from raysweep.attacks import INVERSION
from raysweep.attacks.contract import Reconstruction
from raysweep.attacks.inversion import convolutional, ridge
from raysweep.config import sub_seed
from raysweep.testing import inversion
from raysweep.training.loop import isolated_rng
from raysweep.trial.inversion_judge import Examples, draw_examples, floors

CPU = torch.device("cpu")


ATTACKS = [  # every attack on everything that it rebuilds from
    *[("activation_decoder", {"layers": ("dense1", "output")}, x) for x in ("dense1", "output")],
    ("mi_face", {"tolerance": 0.05}, None),
    ("mi_face", {"pixels": "raw", "restarts": 1}, None),
]
EVERY_ATTACK = pytest.mark.parametrize(("name", "parameters", "layer"), ATTACKS)


def test_the_contract_covers_every_attack():
    assert {name for name, _, _ in ATTACKS} == set(INVERSION)


@EVERY_ATTACK
@pytest.mark.parametrize("rule", inversion.RULES, ids=lambda rule: rule.__name__)
def test_it_keeps_every_rule_of_the_contract(rule, name, parameters, layer):
    rule(name, INVERSION[name](**parameters), layer)


@EVERY_ATTACK
def test_the_records_hold_the_first_images(name, parameters, layer):
    record, rows = inversion.judged(name, INVERSION[name](**parameters), layer)
    n = 10 if layer is None else 16
    assert record.converged_share == 1.0
    assert rows.image.shape == rows.original.shape == (n, 1, 8, 8)
    assert rows.mse.shape == rows.ssim.shape == rows.label.shape == (n,)


def test_the_decoder_that_counts_is_the_better_one_on_held_out_pool_data(splits):
    target, _ = inversion.undefended()
    activations = target.activations(splits.pool, "dense1")
    images = splits.pool.pixels().reshape(200, -1)
    held_out = np.arange(200) % 5 == 0
    one = ridge.fit_ridge(activations, images, held_out, seed=0)
    other = convolutional.fit_convolutional(
        activations, images, held_out, (1, 8, 8), epochs=2, seed=0, device=CPU
    )
    assert one.held_out_mse < other.held_out_mse
    both = INVERSION["activation_decoder"](decoders=("convolutional", "ridge"))
    assert inversion.rebuilt(both, "dense1").decoder == "ridge"
    assert inversion.rebuilt(INVERSION["activation_decoder"](), "output").decoder == "kernel"


def test_ridge_rebuilds_a_linear_layer_exactly():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 12, generator=generator)
    layer = torch.randn(12, 70, generator=generator)
    found = ridge.fit_ridge(images @ layer, images.numpy(), np.arange(300) % 5 == 0, seed=0)
    fresh = torch.rand(50, 12, generator=generator)
    assert np.abs(found.decode(fresh @ layer) - fresh.numpy()).max() < 1e-3


def plain_ridge(activations, images, held_out, seed):
    """Return (weights' predictions, held-out error) by the textbook: features x features, solved."""
    widen = ridge.FeatureMap(activations.shape[1], products=True, seed=seed)
    x, y = widen(activations).numpy(), images.astype(np.float64)
    mean, spread = x.mean(axis=0), x.std(axis=0, ddof=1)
    x = (x - mean) / np.maximum(spread, 1e-6)

    def solved(rows, strength):
        gram = x[rows].T @ x[rows]
        gram += strength * np.trace(gram) / len(gram) * np.eye(len(gram))
        centre = y[rows].mean(axis=0)
        return np.linalg.solve(gram, x[rows].T @ (y[rows] - centre)), centre

    errors = []
    for strength in ridge.STRENGTHS:
        weights, centre = solved(~held_out, strength)
        errors.append((((x[held_out] @ weights + centre).clip(0, 1) - y[held_out]) ** 2).mean())
    weights, centre = solved(np.full(len(x), True), ridge.STRENGTHS[int(np.argmin(errors))])
    return (x @ weights + centre).clip(0, 1), min(errors)


@pytest.mark.parametrize(("rows", "features"), [(300, 100), (80, 300), (300, 20)])
def test_ridge_by_either_gram_matrix_is_the_textbooks(rows, features):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(rows, 12, generator=generator)
    seen = images @ torch.randn(12, features, generator=generator)
    seen += 0.3 * torch.randn(rows, features, generator=generator)
    held_out = np.arange(rows) % 5 == 0
    found = ridge.fit_ridge(seen, images.numpy(), held_out, seed=0)
    slow, error = plain_ridge(seen, images.numpy(), held_out, seed=0)
    np.testing.assert_allclose(found.decode(seen), slow, atol=1e-5)
    assert found.held_out_mse == pytest.approx(error, rel=1e-5)


def test_ridge_on_a_dead_layer_is_the_mean_image():
    images = torch.rand(50, 9, generator=torch.Generator().manual_seed(0)).numpy()
    found = ridge.fit_ridge(torch.zeros(50, 70), images, np.arange(50) % 5 == 0, seed=0)
    np.testing.assert_allclose(found.decode(torch.zeros(2, 70))[0], images.mean(axis=0), atol=1e-6)


def test_ridge_on_noise_falls_back_to_the_mean_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 9, generator=generator).numpy()
    noise = torch.randn(400, 100, generator=generator)
    found = ridge.fit_ridge(noise, images, np.arange(400) % 5 == 0, seed=0)
    assert found.held_out_mse == pytest.approx(images.var(axis=0).mean(), rel=0.08)


def test_wide_layers_are_projected_and_still_rebuilt():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 10, generator=generator)
    wide = images @ torch.randn(10, 5000, generator=generator)
    found = ridge.fit_ridge(wide, images.numpy(), np.arange(400) % 5 == 0, seed=0)
    assert found.held_out_mse < 1e-3


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 13), (30,)])
def test_the_thesis_adversary_takes_every_shape_and_learns(shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(200, int(np.prod(shape)), generator=generator)
    seen = torch.cat([images, torch.randn(200, 5, generator=generator)], dim=1)
    held_out = np.arange(200) % 5 == 0
    fits = [
        convolutional.fit_convolutional(
            seen, images.numpy(), held_out, shape, epochs=e, seed=0, device=CPU
        ).held_out_mse
        for e in (1, 20)
    ]
    assert fits[1] < fits[0]


def test_the_thesis_adversary_is_that_of_the_plain_loop():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(150, 64, generator=generator)
    seen = torch.cat([images, torch.randn(150, 40, generator=generator)], dim=1)
    held_out = np.arange(150) % 5 == 0
    given = {"shape": (1, 8, 8), "seed": 3, "device": CPU}
    fast = convolutional.fit_convolutional(seen, images.numpy(), held_out, epochs=3, **given)
    slow, error = plain_decoder(seen, images, held_out, 3)
    np.testing.assert_allclose(fast.decode(seen), slow, atol=2e-4)
    assert fast.held_out_mse == pytest.approx(error, rel=1e-3)


def plain_decoder(seen, images, held_out, seed, epochs=3):
    """Return what the same network makes of ``seen`` after torch's textbook loop."""
    x = (seen - seen.mean(dim=0)) / seen.std(dim=0)
    with isolated_rng(seed, CPU):
        net = convolutional.network(x.shape[1], (1, 8, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=convolutional.LEARNING_RATE)
    order = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    rows = torch.from_numpy(np.flatnonzero(~held_out))
    errors = []
    for _ in range(epochs):
        net.train()
        for batch in rows[torch.randperm(len(rows), generator=order)].split(convolutional.BATCH):
            optimizer.zero_grad()
            ((net(x[batch]) - images[batch]) ** 2).mean().backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            decoded = net(x)
        errors.append(float(((decoded - images)[held_out] ** 2).mean()))
    assert errors[-1] == min(errors)  # so that the last epoch is the one that is kept
    return decoded.numpy(), errors[-1]


def test_the_floors_are_the_mean_image_and_the_class_means(splits):
    mean, by_class = floors(
        splits.pool, Examples(members=splits.members, nonmembers=splits.nonmembers, seed=0)
    )
    pool, members = splits.pool.pixels(), splits.members.pixels()
    assert mean == pytest.approx(float(((members - pool.mean(axis=0)) ** 2).mean()), rel=1e-4)
    assert by_class < mean


@dataclasses.dataclass
class ByLabel:
    """Rebuilds the class-mean image of the pool, and keeps what it observed."""

    def reconstruct(self, target, observed, knowledge, *, seed):
        self.observed = observed
        pool = knowledge.pool
        means = {k: pool.pixels()[pool.labels == k].mean(axis=0) for k in np.unique(pool.labels)}
        images = np.stack([means[label] for label in observed.labels])
        return Reconstruction(images=images, converged=np.ones(len(images), bool))


def test_members_and_nonmembers_are_rebuilt_in_one_call_and_told_apart_by_the_judge(splits):
    attack = ByLabel()
    record, rows = inversion.judged("by_label", attack, "output")
    members, others = splits.members, splits.nonmembers
    assert (record.n_members, record.n_nonmembers) == (len(members), len(others))
    assert len(attack.observed.labels) == len(members) + len(others)

    labels = np.concatenate([members.labels, others.labels])
    assert sorted(attack.observed.labels) == sorted(labels)
    assert list(attack.observed.labels[: len(members)]) != list(members.labels)

    of_label = [
        floors(splits.pool, Examples(members=some, nonmembers=others, seed=0))[1]
        for some in (members, others)
    ]
    assert record.mse == pytest.approx(record.floor_label, rel=1e-9)
    assert [record.mse, record.mse_nonmembers] == pytest.approx(of_label, rel=1e-6)
    assert record.mse_gap == pytest.approx(record.mse_nonmembers - record.mse, rel=1e-6)
    assert set(rows.example) <= set(members.indices)


def test_every_error_has_an_interval_around_it():
    record, _ = inversion.judged("decoder", INVERSION["activation_decoder"](), "output")
    for name in ("mse", "mse_nonmembers", "mse_gap"):
        low, value, high = (getattr(record, f"{name}{end}") for end in ("_low", "", "_high"))
        assert low < value < high
    assert 0 < record.ssim_nonmembers < 1


def test_an_attack_that_memorised_members_shows_in_the_gap(splits):
    """This attack looks up the members' own images, and guesses the others by class."""

    class Knows(ByLabel):
        def reconstruct(self, target, observed, knowledge, *, seed):
            guess = super().reconstruct(target, observed, knowledge, seed=seed)
            seen = target.activations(splits.members, "output")
            apart = torch.cdist(observed.activations.double(), seen.double())
            nearest, rows = apart.min(dim=1)
            known = (nearest < 1e-3).numpy()
            guess.images[known] = splits.members.pixels()[rows.numpy()[known]]
            return guess

    record, _ = inversion.judged("knows", Knows(), "output")
    assert record.mse < 0.01 < record.mse_nonmembers
    assert record.mse_gap_low > 0


def test_at_most_as_many_nonmembers_as_members_are_rebuilt(splits):
    chosen = draw_examples(splits.nonmembers, splits.members, seed=0)
    assert (len(chosen.members), len(chosen.nonmembers)) == (60, 60)
    assert not np.isin(chosen.members.indices, chosen.nonmembers.indices).any()


def test_classes_have_no_nonmembers():
    record, _ = inversion.judged("mi_face", INVERSION["mi_face"](tolerance=0.05), None)
    assert (record.mse_nonmembers, record.mse_low, record.n_nonmembers) == (None, None, None)


def test_an_attack_that_is_not_finite_is_missing_and_not_safe():
    @dataclasses.dataclass
    class Broken:
        def reconstruct(self, target, observed, knowledge, *, seed):
            images = np.full((len(observed.labels), 1, 8, 8), np.nan, np.float32)
            return Reconstruction(images=images, converged=np.ones(len(images), bool))

    record, rows = inversion.judged("broken", Broken(), "output")
    assert record.mse is None
    assert record.converged is False
    assert rows.mse is None
