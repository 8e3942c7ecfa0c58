"""Frozen, shared, recurrent, attending and embedding layers under DP-SGD: right, or refused."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import nn

from raysweep import data
from raysweep.config import Training, sub_seed
from raysweep.defences import Defences
from raysweep.defences.dpsgd.gradients import PrivateGradients
from raysweep.errors import PrivacyError
from raysweep.training.frozen import split_frozen
from raysweep.training.loop import isolated_rng, train
from raysweep.training.recipe import PrivacySpent, plain_recipe
from raysweep.training.target import pixels

CPU, NORM = torch.device("cpu"), 0.7


class Frozen(nn.Module):
    """A frozen backbone with BatchNorm, whose own ``train`` leaves it in evaluation mode."""

    def __init__(self, *, affine=False, stays=True, chance=False):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            *[nn.Dropout()] * chance,
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.backbone[1].running_mean.normal_()
        self.backbone[1].running_var.uniform_(0.5, 2)
        self.backbone.requires_grad_(False)
        self.backbone[1].requires_grad_(affine)
        self.head, self.stays, self.chance = nn.Linear(16, 10), stays, chance

    def train(self, mode=True):
        super().train(mode)
        if self.stays:
            self.backbone.eval()
        if self.chance:
            self.backbone[2].train(mode)
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


class ReadsTheInputTwice(Frozen):
    def __init__(self):
        super().__init__()
        self.skip = nn.Linear(64, 10)

    def forward(self, x):
        return super().forward(x) + self.skip(x.flatten(1))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.inner(torch.tanh(self.inner(x.flatten(1)))))


class Tied(nn.Sequential):
    def __init__(self):
        one, two = nn.Linear(64, 64), nn.Linear(64, 64)
        two.weight = one.weight
        super().__init__(nn.Flatten(), one, nn.Tanh(), two, nn.Tanh(), nn.Linear(64, 10))


class OfRows(nn.Module):
    """A layer over the rows of an image, and a head on the last or the mean of its outputs."""

    def __init__(self, layer, width, *, attends=False):
        super().__init__()
        self.layer, self.head, self.attends = layer, nn.Linear(width, 10), attends

    def forward(self, x):
        rows = x.view(-1, 8, 8)
        out = self.layer(rows, rows, rows) if self.attends else self.layer(rows)
        out = out[0] if isinstance(out, tuple) else out
        return self.head(out.mean(1))


class OfWords(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(6, 10)

    def forward(self, x):
        out = self.layer((x.flatten(1) * 16).round().long())
        return self.head(out if out.dim() == 2 else out.mean(1))


RIGHT = {
    "frozen BatchNorm": Frozen,
    "frozen BatchNorm, trained scale": lambda: Frozen(affine=True),
    "shared layer": Shared,
    "tied weights": Tied,
    "LSTM": lambda: OfRows(nn.LSTM(8, 6, batch_first=True), 6),
    "LSTM of two layers": lambda: OfRows(nn.LSTM(8, 6, 2, batch_first=True), 6),
    "LSTM both ways": lambda: OfRows(nn.LSTM(8, 3, bidirectional=True, batch_first=True), 6),
    "GRU": lambda: OfRows(nn.GRU(8, 6, batch_first=True), 6),
    "RNN": lambda: OfRows(nn.RNN(8, 6, batch_first=True), 6),
    "attention": lambda: OfRows(nn.MultiheadAttention(8, 2, batch_first=True), 8, attends=True),
    "encoder": lambda: OfRows(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 8),
    "embedding": lambda: OfWords(nn.Embedding(17, 6)),
    "embedding with padding": lambda: OfWords(nn.Embedding(17, 6, padding_idx=0)),
    "bag": lambda: OfWords(nn.EmbeddingBag(17, 6)),
}

REFUSED = {
    "backbone.1.*BatchNorm2d.*mixes.*evaluation mode": lambda: Frozen(stays=False),
    "BatchNorm1d, which mixes": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8, track_running_stats=False).eval()
    ),
    "InstanceNorm2d, which keeps statistics": lambda: nn.Sequential(
        nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(), nn.Linear(64, 10)
    ),
    "Embedding, which changes its weights": lambda: OfWords(nn.Embedding(17, 6, max_norm=1.0)),
    "EmbeddingBag, which changes its weights": lambda: OfWords(
        nn.EmbeddingBag(17, 6, max_norm=1.0)
    ),
    "Embedding, which has sparse gradients": lambda: OfWords(nn.Embedding(17, 6, sparse=True)),
}


@pytest.fixture(scope="module")
def members():
    sizes = {"members": 60, "nonmembers": 20, "pool": 0, "validation": 20, "test": 20}
    return data.load(data.Dataset.parse({"name": "digits", **sizes}), seed=0).members


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build()


def account(steps, clipping):
    rest = {"noise_multiplier": 1, "sample_rate": 1, "accountant": "", "accountant_settings": ""}
    return PrivacySpent(epsilon=1, delta=1e-5, steps=steps, clipping=clipping, **rest)


def loss_of(forward, labels):
    def loss(x):
        return 5 * nn.functional.cross_entropy(forward(x), labels[: len(x)], reduction="none")

    return loss


def clipped_sum(model, x, y):
    """Return what the mechanism sums: its noise is below rounding, and its divisor 1."""
    mechanism = PrivateGradients(
        len(x),
        sample_rate=1.0,
        divisor=1.0,
        noise_multiplier=1e-12,
        max_grad_norm=NORM,
        account=account,
    )
    mechanism.check(model.train(), x)
    forward = mechanism.attach(model, x, seeds=[0])
    mechanism.gradients(loss_of(forward, y), x)
    mechanism.release()
    return [p.grad for p in model.parameters() if p.requires_grad]


def clip(gradients):
    """Return the sum of per-example gradients, (n, ...) each, after clipping them."""
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    factors = (NORM / norms).clamp(max=1)
    return [torch.einsum("n,n...->...", factors, g) for g in gradients]


def one_by_one(model, x, y):
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for i in range(len(x)):
        (loss,) = loss_of(model, y[i : i + 1])(x[i : i + 1])
        rows.append(torch.autograd.grad(loss, trained))
    return clip([torch.stack(of_parameter) for of_parameter in zip(*rows, strict=True)])


def by_opacus(model, x, y):
    wrapped = GradSampleModule(copy.deepcopy(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, on the hooks of Opacus
        loss_of(wrapped, y)(x).sum().backward()
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    return clip([sum(g) if isinstance(g := p.grad_sample, list) else g for p in trained])


def batch(members, n=6):
    x, y = members.tensors(CPU)
    return pixels(x[:n], members), y[:n]


@pytest.mark.parametrize("name", RIGHT)
def test_the_clipped_sum_is_that_of_one_example_after_the_other(name, members):
    x, y = batch(members)
    model = seeded(RIGHT[name])
    found = clipped_sum(model, x, y)
    for one, other in zip(found, one_by_one(model.train(), x, y), strict=True):
        assert torch.allclose(one, other, atol=3e-6)


@pytest.mark.parametrize("name", ["shared layer", "embedding"])
def test_the_clipped_sum_is_that_of_opacus(name, members):
    x, y = batch(members)
    model = seeded(RIGHT[name])
    expected = by_opacus(model, x, y)
    for one, other in zip(clipped_sum(model, x, y), expected, strict=True):
        assert torch.allclose(one, other, atol=3e-6)


def values(gradients):
    return torch.cat([g.flatten() for g in gradients]).sort().values


def test_an_lstm_is_clipped_as_opacus_clips_its_own(members):
    """Opacus has a layer of its own in its place, with the same weights in other tensors.

    Its attention takes positions for examples where the batch comes first, and is no reference.
    """
    from opacus.layers import DPLSTM

    x, y = batch(members)
    model = seeded(RIGHT["LSTM"])
    other = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        other.layer = DPLSTM(8, 6, batch_first=True)
    other.layer.load_state_dict(model.layer.state_dict())
    found, expected = values(clipped_sum(model, x, y)), values(by_opacus(other, x, y))
    assert torch.allclose(found, expected, atol=3e-6)


@pytest.mark.parametrize("words", REFUSED)
def test_what_would_break_the_guarantee_is_refused_by_name(words, members):
    x, y = batch(members)
    with pytest.raises(PrivacyError, match=words):
        clipped_sum(seeded(REFUSED[words]).train(), x, y)


def trained(build, members, *, cached, epsilon=8.0, epochs=4, seen=None):
    def model(_shape, _classes):
        made = build()
        if seen is not None:
            made.backbone.register_forward_hook(lambda _m, args, _out: seen.append(len(args[0])))
        return made

    settings = {"epochs": epochs, "batch_size": 20, "optimizer": "sgd", "learning_rate": 0.5}
    recipe = plain_recipe(model, Training(**settings))
    recipe = Defences.parse({"target_epsilon": epsilon}).apply(recipe, members)
    if not cached:
        recipe = replace(recipe, augment=lambda x: x)
    return train(recipe, members, seed=0, device=CPU)


@pytest.mark.parametrize("epsilon", [8.0, float("inf")])
def test_features_of_a_frozen_backbone_are_computed_once_and_weights_stay_the_same(
    members, epsilon
):
    once = trained(Frozen, members, cached=True, epsilon=epsilon)
    again = trained(Frozen, members, cached=False, epsilon=epsilon)
    initial = seeded_as_trained()
    for (name, one), (_, other) in zip(
        once.model.named_parameters(), again.model.named_parameters(), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)
        assert torch.equal(one, initial[name]) == name.startswith("backbone")


def test_more_epochs_do_not_read_a_frozen_backbone_again(members):
    few, many = [], []
    trained(Frozen, members, cached=True, epochs=1, seen=few)
    trained(Frozen, members, cached=True, epochs=5, seen=many)
    assert few == many


def seeded_as_trained():
    with isolated_rng(sub_seed(0, "initialisation"), CPU):
        return dict(Frozen().named_parameters())


@pytest.mark.parametrize(
    ("build", "is_split"),
    [
        (Frozen, True),
        (lambda: Frozen(affine=True), False),  # its scale is trained
        (lambda: Frozen(stays=False), False),  # it mixes, as in a training without DP
        (lambda: Frozen(chance=True), False),  # other features in each step
        (ReadsTheInputTwice, False),
        (Shared, False),
    ],
)
def test_only_a_part_with_fixed_features_is_left_out(build, is_split, members):
    x, _ = batch(members, 40)
    model = seeded(build).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        part = split_frozen(model, lambda rows: x[rows], 40, batch=16)
    assert (part is not None) == is_split
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    if part is not None:
        rest, features = part
        assert features.shape == (40, 16)
        assert rest.head.weight is model.head.weight
