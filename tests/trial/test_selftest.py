"""The self-test finds nothing in the right code, and each way to break it."""

import time

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from typer.testing import CliRunner

from raysweep import data
from raysweep.cli import app
from raysweep.defences.dpsgd import alone, clipping, gradients
from raysweep.defences.dpsgd.clipping import LayerwiseClipping
from raysweep.defences.dpsgd.gradients import PrivateGradients
from raysweep.errors import PrivacyError
from raysweep.space.parsing import parse_space
from raysweep.trial.rates import gaussian_epsilon
from raysweep.trial.selftest import _Step, selftest

SPACE = """\
name: selftest
dataset: {name: digits, members: 200, nonmembers: 60, pool: 60, validation: 60, test: 60}
model: {name: mlp, hidden: [64], activation: tanh}
training: {epochs: 10, private: {batch_size: 50}}
defences: {target_epsilon: 4, max_grad_norm: 0.5, accountant: rdp}
attacks: {membership: [loss]}
objectives: {accuracy: max, attack_auc: min}
"""

SIZES = {"members": 100, "nonmembers": 20, "pool": 20, "validation": 30, "test": 20}


def two_features():
    labels = np.arange(300) % 2
    return np.random.default_rng(0).normal(size=(300, 2)) + labels[:, None], labels


@pytest.fixture(scope="module")
def config():
    return parse_space(SPACE, "selftest.yaml").config()


@pytest.fixture(scope="module")
def dealt(config):
    return data.load(config.dataset, seed=0)


def wrong(config, dealt, seed=0):
    return {f.name: f.text for f in selftest(config, dealt, seed=seed) if not f.is_right}


def test_nothing_is_found_in_the_right_code(config, dealt):
    for seed in range(3):
        assert wrong(config, dealt, seed) == {}


def test_a_model_of_few_parameters_is_tested_within_its_budget():
    """More steps of noise than are planned would spend more than the target."""
    space = SPACE.replace("{name: mlp, hidden: [64], activation: tanh}", "{name: softmax}")
    config = parse_space(
        space, "s.yaml", {"dataset": {"name": f"{__name__}:two_features", **SIZES}}
    ).config()
    assert wrong(config, data.load(config.dataset, seed=0)) == {}


NAMES = [
    *("canaries", "batches", "batches of packed models", "clipping", "sums", "noise"),
    *("noise between steps", "noise between models", "buffers"),
]


def test_every_property_has_its_test(config, dealt):
    assert [finding.name for finding in selftest(config, dealt, seed=0)] == NAMES


def half_the_noise(monkeypatch):
    draw = PrivateGradients._noise_like
    monkeypatch.setattr(PrivateGradients, "_noise_like", lambda self, p: draw(self, p) / 2)


def no_clipping(monkeypatch):
    for module in (clipping, alone):
        monkeypatch.setattr(module, "factors", lambda squares, _norm: torch.ones_like(squares))


def clipping_by_batch(monkeypatch):
    no_clipping(monkeypatch)
    take = LayerwiseClipping.take

    def clipped(self):
        sums = take(self)
        length = sum(float(s.square().sum()) for _, s in sums) ** 0.5
        return [(p, s * min(1, self._max_grad_norm / (length + 1e-9))) for p, s in sums]

    monkeypatch.setattr(LayerwiseClipping, "take", clipped)
    monkeypatch.setattr("raysweep.defences.dpsgd.choice._refuse_wrong", lambda *_: None)


def division_by_the_drawn_size(monkeypatch):
    inner = PrivateGradients.gradients

    def divided(self, loss, x):
        self._divisor = max(1, len(x))
        return inner(self, loss, x)

    monkeypatch.setattr(PrivateGradients, "gradients", divided)


def shuffled_batches(monkeypatch):
    def batches(self, generator):
        order = torch.randperm(self._n, generator=generator)
        yield from order.split(max(1, round(self._n * self._sample_rate)))

    monkeypatch.setattr(PrivateGradients, "batches", batches)


def shuffled_batches_of_packed_models(monkeypatch):
    def packed_batches(self, generators):
        size = max(1, round(self._n * self._sample_rate))
        orders = (torch.randperm(self._n, generator=one).split(size) for one in generators)
        for parts in zip(*orders, strict=True):
            yield torch.stack(parts), torch.ones(len(parts), len(parts[0]), dtype=torch.bool)

    monkeypatch.setattr(PrivateGradients, "packed_batches", packed_batches)


def noise_used_again(monkeypatch):
    inner = PrivateGradients.gradients

    def again(self, loss, x):
        for number, generator in enumerate(self._generators):
            generator.manual_seed(number)
        return inner(self, loss, x)

    monkeypatch.setattr(PrivateGradients, "gradients", again)


def noise_of_the_epoch_before(monkeypatch):
    inner = PrivateGradients.gradients

    def again(self, loss, x):
        if self._steps % 4 == 0:
            for number, generator in enumerate(self._generators):
                generator.manual_seed(number)
        return inner(self, loss, x)

    monkeypatch.setattr(PrivateGradients, "gradients", again)


def one_noise_for_packed_models(monkeypatch):
    draw = PrivateGradients._noise_like

    def shared(self, parameter):
        noise = draw(self, parameter)
        return noise[:1].expand_as(noise).clone() if len(self._generators) > 1 else noise

    monkeypatch.setattr(PrivateGradients, "_noise_like", shared)


def a_layer_outside_the_clipping(monkeypatch):
    def add(self, found):
        rules = [
            self._rules[layer](layer, a, g)
            for (layer, a, _), g in zip(self._recorded, found, strict=True)
        ]
        squares = torch.stack([rule.squares() for rule in rules[:-1]]).sum(0)
        for rule in rules:
            whole = clipping.factors(squares, self._max_grad_norm)
            scale = whole if rule is not rules[-1] else torch.ones_like(squares)
            for parameter, total in rule.sums(scale):
                before = self._sums.get(parameter)
                self._sums[parameter] = total if before is None else before + total

    monkeypatch.setattr(LayerwiseClipping, "_add_clipped", add)
    monkeypatch.setattr("raysweep.defences.dpsgd.choice._refuse_wrong", lambda *_: None)


MUTATIONS = {
    half_the_noise: {"noise"},
    no_clipping: {"clipping"},
    clipping_by_batch: {"sums"},
    division_by_the_drawn_size: {"noise", "sums"},
    shuffled_batches: {"batches"},
    shuffled_batches_of_packed_models: {"batches of packed models"},
    noise_used_again: {"noise between steps"},
    noise_of_the_epoch_before: {"noise between steps"},
    one_noise_for_packed_models: {"noise between models"},
    a_layer_outside_the_clipping: {"clipping"},
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_broken_step_is_found(config, dealt, monkeypatch, mutation, seed):
    mutation(monkeypatch)
    assert MUTATIONS[mutation] <= {*wrong(config, dealt, seed)}


def test_canaries_alone_find_halved_noise_at_a_large_epsilon(dealt, monkeypatch):
    half_the_noise(monkeypatch)
    space = parse_space(SPACE, "selftest.yaml", {"defences.target_epsilon": 8})
    for seed in range(3):
        assert not _Step(space.config(), dealt, seed=seed).canaries().is_right


class Remembers(nn.Module):
    """Keeps the mean of its inputs in a buffer, and does not use it."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(64, 10)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        if self.training:
            self.seen += x.mean()
        return self.output(x.flatten(1))


def test_a_buffer_that_carries_data_is_found_or_refused(config, dealt, monkeypatch):
    model = type(config.model.model)
    monkeypatch.setattr(model, "build", lambda *_args, **_kwargs: Remembers())
    with pytest.raises(PrivacyError, match="buffer 'seen' changed"):
        selftest(config, dealt, seed=0)

    monkeypatch.setattr(gradients, "refuse_mixing", lambda *_: None)
    monkeypatch.setattr(gradients, "refuse_changed_tensors", lambda *_: None)
    assert "seen" in wrong(config, dealt)["buffers"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epsilon", "low", "high"), [(1, 0, 0.3), (2, 0.2, 1.2), (4, 1.4, 2.9), (8, 3.5, 5.5)]
)
def test_the_bound_is_never_above_the_claim_and_as_high_as_it_can_be(dealt, epsilon, low, high):
    space = parse_space(SPACE, "selftest.yaml", {"defences.target_epsilon": epsilon})
    shown = []
    for seed in range(50):
        finding = _Step(space.config(), dealt, seed=seed).canaries()
        assert finding.is_right
        shown.append(float(finding.text.split(">= ")[1].split(",")[0]))
    assert max(shown) < epsilon
    assert low <= np.mean(shown) <= high


def test_the_epsilon_of_two_normal_distributions_is_the_exact_one():
    """Balle and Wang 2018, against the tails themselves."""
    for mu in (0.1, 0.5, 1.5):
        epsilon = gaussian_epsilon(mu, 1e-5)
        tails = norm.sf(epsilon / mu - mu / 2) - np.exp(epsilon) * norm.sf(epsilon / mu + mu / 2)
        assert tails == pytest.approx(1e-5, rel=1e-4)
    assert gaussian_epsilon(0.0, 1e-5) == 0


def test_the_command_prints_each_finding_and_what_could_have_been_found(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPACE)
    began = time.process_time()
    found = CliRunner().invoke(app, ["selftest", str(path)])
    assert (found.exit_code, found.output.count("ok  ")) == (0, len(NAMES))
    assert "the best attacker would have shown" in found.output
    assert time.process_time() - began < 30


def test_a_space_without_dp_is_tested_at_four(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPACE.replace("target_epsilon: 4, ", ""))
    found = CliRunner().invoke(app, ["selftest", str(path)])
    assert (found.exit_code, "claimed are 4.00" in found.output) == (0, True)


def test_the_broken_code_gives_exit_code_1(tmp_path, monkeypatch):
    half_the_noise(monkeypatch)
    path = tmp_path / "s.yaml"
    path.write_text(SPACE)
    found = CliRunner().invoke(app, ["selftest", str(path), "--json"])
    assert (found.exit_code, '"is_right": false' in found.output) == (1, True)
