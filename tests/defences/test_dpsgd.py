"""DP-SGD: the clipped sum of autograd, real Poisson batches, honest accounting, fail closed."""

import math
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis import rdp as rdp_of_opacus
from opacus.validators import ModuleValidator
from torch import nn

import raysweep
from raysweep.config import Training
from raysweep.defences import Defences
from raysweep.defences.dpsgd import accounting, choice
from raysweep.defences.dpsgd.alone import VmapClipping
from raysweep.defences.dpsgd.choice import clipping
from raysweep.defences.dpsgd.clipping import LayerwiseClipping
from raysweep.defences.dpsgd.gradients import PrivateGradients
from raysweep.defences.dpsgd.layer_rules import ConvolutionRule
from raysweep.defences.dpsgd.unsafe_layers import refuse_unsafe_layers
from raysweep.errors import ModelError, PrivacyError
from raysweep.models import MODELS
from raysweep.models.structure import KNOWN
from raysweep.space.parsing import parse_space
from raysweep.training.loop import isolated_rng, train
from raysweep.training.recipe import PrivacySpent, plain_recipe

CPU = torch.device("cpu")


def seeded(build, seed=0):
    with isolated_rng(seed, CPU):
        return build()


def spent_nothing(steps, clipping):
    return PrivacySpent(
        epsilon=0.0,
        delta=1e-5,
        noise_multiplier=0.0,
        sample_rate=1.0,
        steps=steps,
        accountant="rdp",
        accountant_settings="",
        clipping=clipping,
    )


def clipped(kind, model, x, y, norm, parts=1):
    """Return the clipped sums by raysweep, which must choose this kind."""
    model.train()
    way = clipping(model, x, norm)
    assert isinstance(way, kind)
    for part in torch.arange(len(x)).chunk(parts):
        way.add(lambda z, p=part: F.cross_entropy(way.forward(z), y[p], reduction="none"), x[part])
    sums = [s.clone() for _, s in way.take()]
    way.release()
    return sums


def one_by_one(model, x, y, norm):
    """Return the clipped sums by plain autograd, one example after the other: the slow twin."""
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in parameters]
    for i in range(len(x)):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        own = [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]
        total = math.sqrt(sum(float(g.square().sum()) for g in own))
        for s, g in zip(sums, own, strict=True):
            s += g * min(1.0, norm / (total + 1e-6))
    return sums


def relative_error(one, other):
    gap = sum(((a - b) ** 2).sum() for a, b in zip(one, other, strict=True)).sqrt()
    return float(gap / sum((b**2).sum() for b in other).sqrt())


@settings(deadline=None, max_examples=40)
@given(
    channels=st.integers(1, 4),
    groups=st.integers(1, 2),
    width=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
    way=st.sampled_from(["groups", "patches", "gram"]),
    norm=st.sampled_from([0.01, 0.3, 100.0]),
    seed=st.integers(0, 100),
)
def test_the_clipped_sum_of_convolutions_is_that_of_autograd(
    channels, groups, width, kernel, stride, padding, dilation, bias, way, norm, seed
):
    """Every way to a convolution's norm, by whatever way the shapes alone would choose."""

    def build():
        first = nn.Conv2d(
            channels * groups, 2 * width * groups, kernel, stride, padding, dilation, groups, bias
        )
        size = first(torch.zeros(1, channels * groups, 7, 6)).numel()
        return nn.Sequential(first, nn.Tanh(), nn.Flatten(), nn.Linear(size, 3, bias=bias))

    model = seeded(build, seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, channels * groups, 7, 6, generator=generator)
    y = torch.randint(3, (5,), generator=generator)
    chosen = "groups" if groups > 1 else way
    with mock.patch.object(ConvolutionRule, "_way", staticmethod(lambda *_: chosen)):
        ours = clipped(LayerwiseClipping, model, x, y, norm)
    theirs = one_by_one(model, x, y, norm)
    assert relative_error(ours, theirs) < 1e-5


@settings(deadline=None, max_examples=20)
@given(groups=st.integers(1, 3), width=st.integers(1, 3), seed=st.integers(0, 100))
def test_the_clipped_sum_of_group_norm_is_that_of_autograd(groups, width, seed):
    def build():
        norm = nn.GroupNorm(groups, groups * width)
        with torch.no_grad():
            norm.weight.normal_()
            norm.bias.normal_()
        layers = [nn.Conv2d(2, groups * width, 3), norm, nn.ReLU(), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(groups * width * 20, 3))

    model = seeded(build, seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(5, 2, 7, 6, generator=generator), torch.arange(5) % 3
    ours = clipped(LayerwiseClipping, model, x, y, 0.3)
    assert relative_error(ours, one_by_one(model, x, y, 0.3)) < 1e-5


def test_every_way_to_a_convolutions_norm_is_taken_by_a_target():
    model = seeded(lambda: MODELS["thesis_cnn"]().build((1, 28, 28), 10))
    shapes = ((1, 28, 28), (32, 28, 28)), ((32, 14, 14), (64, 14, 14)), ((64, 7, 7), (128, 7, 7))
    layers = [model.conv1[0], model.conv2[0], model.conv3[0]]
    ways = [ConvolutionRule._way(x, *shape) for x, shape in zip(layers, shapes, strict=True)]
    assert ways == ["patches", "groups", "gram"]


class InPlace(nn.Module):
    """Overwrites what its layers gave, as residual networks do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.output = nn.Linear(3 * 64, 10)

    def forward(self, x):
        x = torch.relu_(self.first(x))
        y = self.second(x)
        y += x
        return self.output(torch.relu_(y).flatten(1))


def test_layers_that_work_in_place_are_clipped_right():
    model = seeded(InPlace)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(6, 1, 8, 8, generator=generator), torch.arange(6)
    ours = clipped(VmapClipping, model, x, y, 0.5)
    assert relative_error(ours, one_by_one(SlowTwin(model), x, y, 0.5)) < 1e-5


class SlowTwin(nn.Module):
    """The same model, nothing overwritten."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        x = torch.relu(self.model.first(x))
        return self.model.output(torch.relu(self.model.second(x) + x).flatten(1))


@pytest.mark.parametrize("name", ["thesis_cnn", "mnist_cnn", "softmax", "mlp"])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_clipped_sum_of_every_target_is_that_of_autograd_whatever_the_physical_batch(
    name, parts
):
    model = seeded(lambda: MODELS[name]().build((1, 28, 28), 10))
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(9, 1, 28, 28, generator=generator), torch.arange(9)
    ours = clipped(LayerwiseClipping, model, x, y, 0.5, parts)
    theirs = one_by_one(model, x, y, 0.5)
    assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("vgg4", {"norm": "group"}, 8),
        ("densenet", {"norm": "group", "depth": 10, "growth": 4}, 8),
        ("alexnet", {}, 16),
        ("conv3", {}, 8),
    ],
)
def test_the_clipped_sum_of_the_papers_targets_is_that_of_autograd(name, options, side):
    model = seeded(lambda: MODELS[name](**options).build((1, side, side), 10))
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(3, 1, side, side, generator=generator), torch.arange(3)
    ours = clipped(LayerwiseClipping, model, x, y, 0.5)
    theirs = one_by_one(model, x, y, 0.5)
    assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize("name", ["vgg4", "densenet"])
def test_batch_norm_under_dp_is_refused_and_group_norm_named(name):
    model = seeded(lambda: MODELS[name]().build((1, 8, 8), 10))
    with pytest.raises(PrivacyError, match=r"BatchNorm2d, which mixes.*GroupNorm"):
        refuse_unsafe_layers(model)


def test_no_example_adds_more_than_the_norm():
    model = seeded(lambda: MODELS["thesis_cnn"]().build((1, 8, 8), 10))
    for i in range(4):
        x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(i))
        sums = clipped(LayerwiseClipping, model, x, torch.tensor([i]), 0.1)
        assert math.sqrt(sum(float((s**2).sum()) for s in sums)) <= 0.1 * (1 + 1e-5)


def test_without_noise_and_clipping_it_is_plain_sgd():
    model = seeded(lambda: MODELS["mlp"](hidden=(16,)).build((1, 8, 8), 10))
    x, y = (
        torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.arange(12) % 10,
    )
    private = PrivateGradients(
        12,
        sample_rate=1.0,
        divisor=12,
        noise_multiplier=0.0,
        max_grad_norm=1e6,
        account=spent_nothing,
    )
    private.attach(model, x[:1], seeds=[0])
    private.gradients(lambda z: F.cross_entropy(model(z), y, reduction="none"), x)
    ours = [p.grad.clone() for p in model.parameters()]
    private.release()
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    assert relative_error(ours, [p.grad for p in model.parameters()]) < 1e-5


def test_an_empty_batch_is_a_step_of_noise_alone():
    model = seeded(lambda: MODELS["softmax"]().build((1, 8, 8), 10))
    private = PrivateGradients(
        100,
        sample_rate=0.1,
        divisor=10,
        noise_multiplier=2.0,
        max_grad_norm=0.5,
        account=spent_nothing,
    )
    private.attach(model, torch.zeros(1, 1, 8, 8), seeds=[0])
    empty = torch.zeros(0, dtype=torch.long)
    private.gradients(
        lambda z: F.cross_entropy(model(z), empty, reduction="none"), torch.zeros(0, 1, 8, 8)
    )
    noise = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float(noise.std()) == pytest.approx(2.0 * 0.5 / 10, rel=0.1)
    assert private.privacy_spent().steps == 1


def test_batches_are_poisson():
    private = PrivateGradients(
        1000,
        sample_rate=0.05,
        divisor=50,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        account=spent_nothing,
    )
    generator = torch.Generator().manual_seed(0)
    epochs = [list(private.batches(generator)) for _ in range(20)]
    sizes = np.array([len(batch) for epoch in epochs for batch in epoch])
    assert len(epochs[0]) == 20
    assert sizes.mean() == pytest.approx(50, abs=2)
    assert sizes.std() == pytest.approx(math.sqrt(1000 * 0.05 * 0.95), rel=0.15)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.output = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.output(self.inner(torch.tanh(self.inner(x))))


@pytest.mark.parametrize(
    "build",
    [Twice, lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))],
    ids=["a layer used twice", "a layer without a rule"],
)
def test_models_without_a_fast_rule_for_each_layer_see_each_example_alone(build):
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    y = torch.arange(5) % 3
    model = seeded(build)
    assert (
        relative_error(clipped(VmapClipping, model, x, y, 0.3), one_by_one(model, x, y, 0.3)) < 1e-5
    )


def test_batch_norm_is_refused_by_name_with_the_remedy():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.BatchNorm2d(4))))
    with pytest.raises(
        PrivacyError, match=r"layer '1.0' is BatchNorm2d.*nn.GroupNorm\(num_groups, 4\)"
    ):
        refuse_unsafe_layers(model)


class Remembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(64, 10)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        if self.training:
            self.seen += x.mean()
        return self.output(x.flatten(1))


class Mixes(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.output(x - x.mean(dim=0) if self.training else x)


class TwiceInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.output(x) + (self.output(x) if self.training else 0)


@pytest.mark.parametrize(
    ("build", "message"),
    [(Mixes, "depend on the other examples"), (Remembers, "buffer 'seen' changed")],
)
def test_a_model_that_would_break_the_guarantee_fails_closed(splits, build, message):
    with pytest.raises(PrivacyError, match=message):
        private_training({"epsilon": 8}, lambda *_: build(), splits)


def private_training(values, build, splits, **training):
    settings_ = {
        "epochs": 3,
        "batch_size": 40,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        **training,
    }
    recipe = plain_recipe(build, Training(**settings_))
    recipe = Defences.parse(values).apply(recipe, splits.reference)
    return train(recipe, splits.members, seed=0, device=CPU)


def test_a_layer_that_only_training_calls_twice_is_clipped_right():
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y, model = torch.arange(5), seeded(TwiceInTraining)
    assert (
        relative_error(clipped(VmapClipping, model, x, y, 0.3), one_by_one(model, x, y, 0.3)) < 1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("accountant", ["rdp", "prv"])
@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_a_training_spends_at_most_its_target_epsilon(splits, epsilon, accountant):
    values = {"epsilon": epsilon, "accountant": accountant}
    target = private_training(values, MODELS["softmax"]().build, splits)
    assert 0.98 * epsilon < target.privacy.epsilon <= epsilon
    assert (target.privacy.steps, target.privacy.accountant) == (9, accountant)


@pytest.mark.slow
def test_prv_asks_for_less_noise_than_rdp():
    rule = {"delta": 1e-5, "sample_rate": 0.05, "steps": 300}
    rdp = accounting.solve_noise(2.0, accountant="rdp", **rule)
    prv = accounting.solve_noise(2.0, accountant="prv", **rule)
    assert 0.85 * rdp < prv < rdp


@pytest.mark.parametrize(
    ("noise", "sample_rate", "steps"),
    [(0.5, 0.5, 20), (0.7, 0.01, 3000), (1.6, 0.25, 90), (6.0, 0.1, 300)],
)
def test_the_orders_that_are_left_out_change_no_epsilon(noise, sample_rate, steps):
    orders = list(accounting.ORDERS)
    rdp = rdp_of_opacus.compute_rdp(
        q=sample_rate, noise_multiplier=noise, steps=steps, orders=orders
    )
    expected, _ = rdp_of_opacus.get_privacy_spent(orders=orders, rdp=rdp, delta=1e-5)
    rule = {"delta": 1e-5, "sample_rate": sample_rate, "steps": steps, "accountant": "rdp"}
    assert accounting.epsilon_spent(noise, **rule)[0] == expected


def test_opacus_has_no_rule_about_known_layers():
    assert not KNOWN & ModuleValidator.VALIDATORS.keys()


def test_full_batch_accounting_is_that_of_the_gaussian_mechanism():
    """Balle & Wang 2018: the exact delta of k full-batch steps is that of one with sigma/sqrt(k)."""
    from scipy.stats import norm

    epsilon, _ = accounting.epsilon_spent(
        10.0, delta=1e-5, sample_rate=1.0, steps=25, accountant="rdp"
    )
    mu = math.sqrt(25) / 10.0
    exact = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert exact <= 1e-5
    assert epsilon < 1.2 * 2.0  # the exact epsilon is 2.0 to two digits


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [99.5, 100.0, 101.0])
def test_near_prvs_limit_no_more_is_spent_than_was_asked(epsilon):
    rule = {"delta": 1e-5, "sample_rate": 0.25, "steps": 20, "accountant": "prv"}
    noise = accounting.solve_noise(epsilon, **rule)
    assert accounting.epsilon_spent(noise, **rule)[0] <= epsilon


def test_epsilons_beyond_prv_are_answered_by_rdp_and_say_so():
    answer = accounting.epsilon_spent(0.4, delta=1e-5, sample_rate=1.0, steps=100, accountant="prv")
    assert answer[0] > accounting.PRV_LIMIT
    assert answer[1] == "rdp"


@pytest.mark.parametrize("epsilon", [200.0, 1000.0, 10_000.0])
def test_a_large_epsilon_is_spent(epsilon):
    rule = {"delta": 1e-5, "sample_rate": 0.25, "steps": 60, "accountant": "rdp"}
    noise = accounting.solve_noise(epsilon, **rule)
    assert 0.99 * epsilon < accounting.epsilon_spent(noise, **rule)[0] <= epsilon


@pytest.mark.parametrize("epsilon", [0.005, 0.01])
def test_an_epsilon_below_prvs_own_error_is_answered_by_rdp(epsilon):
    rule = {"delta": 1e-5, "sample_rate": 0.25, "steps": 60, "accountant": "prv"}
    spent, accountant = accounting.epsilon_spent(accounting.solve_noise(epsilon, **rule), **rule)
    assert accountant == "rdp"
    assert 0.99 * epsilon < spent <= epsilon


def test_noise_multiplier_may_be_given_in_place_of_epsilon(splits):
    target = private_training({"noise_multiplier": 3.0}, MODELS["softmax"]().build, splits)
    assert target.privacy.noise_multiplier == 3.0
    assert 0 < target.privacy.epsilon < math.inf


def test_delta_must_be_below_one_over_the_members(splits):
    with pytest.raises(PrivacyError, match=r"`delta` must be below 1 / members = 0.0083, got 0.01"):
        private_training({"epsilon": 2, "delta": 0.01}, MODELS["softmax"]().build, splits)


def test_l2_acts_under_dp_and_only_where_it_should(splits):
    build = MODELS["mlp"](hidden=(16,)).build
    plain = private_training({"epsilon": 8}, build, splits)
    heavy = private_training({"epsilon": 8, "l2": 0.5, "l2_scope": "output"}, build, splits)

    def norms(target):
        return {
            k: float(v.detach().norm()) for k, v in target.model.named_parameters() if "weight" in k
        }

    assert norms(heavy)["output.weight"] < 0.5 * norms(plain)["output.weight"]
    assert heavy.privacy.epsilon == plain.privacy.epsilon
    assert heavy.privacy.noise_multiplier == plain.privacy.noise_multiplier


def test_the_baseline_has_the_same_model_and_epochs(splits):
    build = MODELS["mlp"](hidden=(16,)).build
    private = {"optimizer": "sgd", "learning_rate": 1.0, "batch_size": 60}
    plain = private_training({}, build, splits, private=private)
    defended = private_training({"epsilon": 8}, build, splits, private=private)
    shapes = [[p.shape for p in t.model.parameters()] for t in (plain, defended)]
    assert shapes[0] == shapes[1]
    assert defended.privacy.steps == 3 * 2


@pytest.mark.parametrize("name", ["thesis_cnn", "mlp"])
def test_in_bf16_no_example_adds_more_than_the_norm(name):
    model = seeded(lambda: MODELS[name]().build((1, 28, 28), 10))
    for i in range(3):
        x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(i))
        way = clipping(model, x, 0.1)

        def losses(z, label=i, way=way):
            with torch.autocast("cpu", torch.bfloat16):  # slow where the CPU has none, but equal
                logits = way.forward(z)
            assert logits.dtype == torch.bfloat16
            return F.cross_entropy(logits.float(), torch.tensor([label]), reduction="none")

        way.add(losses, x)
        total = torch.cat([s.flatten() for _, s in way.take()])
        way.release()
        assert total.dtype == torch.float32
        assert 0.09 < float(total.norm()) <= 0.1 * (1 + 1e-5)


def test_bf16_is_refused_where_the_layers_are_unknown_or_the_hardware_is_missing(
    splits, monkeypatch
):
    private = PrivateGradients(
        9,
        sample_rate=1.0,
        divisor=9,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        account=spent_nothing,
        precision="bf16",
    )
    with pytest.raises(PrivacyError, match="precision bf16 is for models of known layers"):
        private.attach(seeded(InPlace), torch.zeros(3, 1, 8, 8), seeds=[0])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    recipe = plain_recipe(MODELS["mlp"]().build, Training(epochs=1, precision="bf16"))
    with pytest.raises(
        ModelError, match="precision is bf16 and this cpu does not support it; set training"
    ):
        train(recipe, splits.members, seed=0, device=CPU)


def test_a_sweep_in_bf16_is_refused_before_ray_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    space = parse_space(SMALL, "s.yaml", overrides={"training.precision": "bf16"})
    with pytest.raises(ModelError, match="precision is bf16 and this cpu does not support it"):
        raysweep.sweep(space, out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_unit_that_rounding_switches_is_no_wrong_gradient():
    """Alone and in a batch, a sum of nearly 0 may round to either side of a ReLU."""
    differ = 0
    for seed in range(5):
        build = MODELS["mlp"](hidden=(64,), activation="relu").build
        model = seeded(lambda build=build: build((512,), 10), seed)
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 512))).float()
        first = next(layer for layer in model.modules() if isinstance(layer, nn.Linear))
        near = (first.weight.double() * x.double().repeat(16, 1)).sum(dim=1)
        first.bias.data = -near.float()

        differ += bool(choice._wrong_layerwise(model, x, 1.0))
        assert clipping(model, x, 1.0).name == "layerwise"
    assert differ, "float32 shows no difference, so that this test says nothing"
