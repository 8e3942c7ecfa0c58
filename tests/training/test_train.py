import copy
import types

import numpy as np
import pytest
import torch
from torch import nn

from raysweep.config import Training, sub_seed
from raysweep.errors import ModelError, NotFinite, TrainingDiverged
from raysweep.models import MODELS, NamedModel
from raysweep.models.convolutional import ThesisCnn
from raysweep.models.fast_layers import FastDropout, FastTanh
from raysweep.training import recipe
from raysweep.training.devices import channels_last, copy_at_once
from raysweep.training.loop import isolated_rng, train
from raysweep.training.packed_layers import PackedTanh
from raysweep.training.recipe import cross_entropy, plain_recipe
from raysweep.training.target import compute_logits, predict


@pytest.fixture
def chance(cpu):
    """Seed torch's global generator for one test, and restore it afterwards."""
    with isolated_rng(0, cpu):
        yield


MLP = MODELS["mlp"](hidden=(32,)).build


def run(splits, cpu, build=MLP, seed=0, on_epoch=None, **training):
    recipe = plain_recipe(build, Training(**{"epochs": 8, "learning_rate": 1e-2, **training}))
    return train(recipe, splits.members, seed=seed, device=cpu, on_epoch=on_epoch)


def weights(target):
    return torch.cat([p.detach().flatten() for p in target.model.parameters()])


def test_the_same_seed_gives_the_same_weights_and_another_does_not(splits, cpu):
    first, again, other = (run(splits, cpu, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thesis_cnn", "softmax", "mlp"])
def test_a_target_learns_the_digits(splits, cpu, name):
    target = run(splits, cpu, MODELS[name]().build, epochs=25, learning_rate=3e-3, batch_size=16)
    predicted = predict(target.model, splits.validation, cpu)
    assert (predicted == splits.validation.labels).mean() > 0.7


@pytest.mark.parametrize(
    ("shape", "n_classes"), [((1, 28, 28), 10), ((3, 32, 32), 7), ((1, 17, 19), 2)]
)
@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_every_target_takes_every_shape(name, shape, n_classes, dropout):
    with torch.random.fork_rng():
        module = small(name).build(shape, n_classes, dropout=dropout)
        assert module(torch.zeros(2, *shape)).shape == (2, n_classes)


def small(name):
    """Return a model of the catalogue; a densenet has 16 layers, since 100 take long."""
    return MODELS[name](depth=16) if name == "densenet" else MODELS[name]()


IMAGE_MODELS = [name for name in MODELS if name not in ("softmax", "mlp", "record_mlp")]


@pytest.mark.parametrize("name", list(MODELS))
def test_spatial_dropout_zeroes_whole_channels_or_says_that_there_are_none(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)  # some initialisations give a channel that is 0 without dropout
        if name not in IMAGE_MODELS:
            with pytest.raises(ModelError, match=f"zeroes whole channels, and model '{name}'"):
                small(name).build((1, 28, 28), 10, spatial_dropout=0.5)
            return
        module = small(name).build((1, 28, 28), 10, spatial_dropout=0.5)
        dropout_layers = [m for m in module.modules() if isinstance(m, torch.nn.Dropout2d)]
        seen = []
        dropout_layers[0].register_forward_hook(lambda m, i, output: seen.append(output))
        module(torch.rand(16, 1, 28, 28))
    zeroed = (seen[0] == 0).flatten(2).all(dim=2)
    assert zeroed.any()
    assert not zeroed.all()


@pytest.mark.parametrize("name", ["vgg4", "vgg7", "vgg9", "densenet"])
def test_a_normalised_target_has_batch_norm_or_group_norm_and_the_same_names(name):
    with torch.random.fork_rng():
        options = {"depth": 16} if name == "densenet" else {}
        plain, group = (
            MODELS[name](norm=norm, **options).build((3, 32, 32), 10) for norm in ("batch", "group")
        )
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in plain.modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in group.modules())
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in group.named_parameters()]


@pytest.mark.parametrize(
    ("name", "shape", "layers"),
    [
        ("vgg4", (1, 28, 28), "conv1 pool1 conv2 pool2 flatten dense output"),
        (
            "vgg9",
            (3, 32, 32),
            "conv1 pool1 conv2 pool2 conv3 conv4 pool3 conv5 conv6 conv7 pool4 flatten dense output",
        ),
        ("conv3", (1, 112, 92), "conv1 flatten output"),
        ("record_mlp", (600,), "flatten dense1 dense2 dense3 dense4 output"),
    ],
)
def test_a_target_has_the_layers_of_its_paper(name, shape, layers):
    with torch.random.fork_rng():
        module = MODELS[name]().build(shape, 40)
    assert [child for child, _ in module.named_children()] == layers.split()


def test_the_thesis_cnn_has_nine_layers_to_observe(splits, cpu):
    target = run(splits, cpu, MODELS["thesis_cnn"]().build, epochs=1)
    names = ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "flatten", "dense", "output"]
    sizes = [target.activations(splits.validation, name).shape[1] for name in names]
    assert sizes == [2048, 512, 1024, 256, 512, 128, 128, 128, 10]


def test_activations_equal_those_of_a_whole_pass_and_later_layers_are_not_run(splits, cpu):
    target = run(splits, cpu, MODELS["thesis_cnn"]().build, epochs=1)
    x = torch.from_numpy(splits.validation.pixels())
    for name, module in target.model.named_children():
        with torch.no_grad():
            x = module(x)
        if name != "output":
            activations = target.activations(splits.validation, name)
            np.testing.assert_allclose(activations, x.flatten(1), atol=1e-5)

    calls = []
    hook = target.model.conv2.register_forward_hook(lambda *_: calls.append(1))
    target.activations(splits.validation, "pool1")
    hook.remove()
    assert not calls


def test_a_layer_that_the_model_does_not_call_is_an_error(splits, cpu):
    class Idle(nn.Module):
        def __init__(self, shape, n_classes):
            super().__init__()
            self.used, self.idle = nn.Linear(64, n_classes), nn.Linear(64, n_classes)

        def forward(self, x):
            return self.used(x.flatten(1))

    target = run(splits, cpu, Idle, epochs=1)
    with pytest.raises(ModelError, match="did not call its layer 'idle'"):
        target.activations(splits.validation, "idle")


def test_values_of_a_layer_that_are_not_finite_are_told_as_the_layers(splits, cpu):
    class Bounded(nn.Module):
        def __init__(self, shape, n_classes):
            super().__init__()
            self.inner, self.output = nn.Linear(64, 8), nn.Linear(8, n_classes)

        def forward(self, x):
            return self.output(self.inner(x.flatten(1)).nan_to_num())

    target = run(splits, cpu, Bounded, epochs=1)
    target.model.inner.weight.data[0] = torch.inf
    assert np.isfinite(target.logits(splits.validation)).all()

    n = len(splits.validation.labels)
    rule = f"the outputs of layer 'inner' are not finite numbers for {n} of {n} examples"
    with pytest.raises(NotFinite, match=rule):
        target.activations(splits.validation, "inner")


def test_a_layer_that_does_not_exist_is_an_error_that_lists_the_layers(splits, cpu):
    with pytest.raises(ModelError, match="no layer 'conv9'; it has flatten"):
        run(splits, cpu, epochs=1).activations(splits.validation, "conv9")


def test_an_image_model_refuses_images_that_are_too_small():
    with pytest.raises(ModelError, match="'mnist_cnn' needs images of at least 16x16"):
        MODELS["mnist_cnn"]().build((1, 8, 8), 10)


def test_member_loss_is_the_mean_and_median_over_members(splits, cpu):
    target = run(splits, cpu)
    logits = torch.from_numpy(target.logits(splits.members))
    labels = torch.from_numpy(splits.members.labels)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none").numpy()
    assert target.member_loss == pytest.approx((losses.mean(), np.median(losses)))


def test_a_loss_that_is_not_finite_is_an_error(splits, cpu):
    with pytest.raises(TrainingDiverged, match=r"the loss of epoch \d+ is (nan|inf)"):
        run(splits, cpu, optimizer="sgd", learning_rate=1e38)


def test_members_without_a_finite_loss_are_counted(splits, cpu):
    first = torch.from_numpy(splits.members.features[:1] / np.float32(splits.members.top))

    class Blind(torch.nn.Module):
        def __init__(self, shape, n_classes):
            super().__init__()
            self.inner = MODELS["softmax"]().build(shape, n_classes)

        def forward(self, x):
            is_first = (x == first).flatten(1).all(1, keepdim=True)
            return self.inner(x).masked_fill(is_first, float("nan"))

    with pytest.raises(TrainingDiverged, match="no finite number for 1 of 20 members; change what"):
        run(splits, cpu, Blind, epochs=1, batch_size=20)


def test_logits_that_are_not_finite_after_the_last_step_are_an_error(splits, cpu):
    def build(shape, n_classes):
        return torch.nn.Sequential(MODELS["softmax"]().build(shape, n_classes), Squared())

    steep = {"epochs": 1, "batch_size": 120, "optimizer": "sgd", "learning_rate": 1e30}
    target = run(splits, cpu, build, **steep)
    with pytest.raises(TrainingDiverged, match="not finite numbers for 120 of 120 examples"):
        target.logits(splits.members)


def test_logits_that_were_kept_are_those_of_another_evaluation(splits, cpu):
    target, rows = run(splits, cpu, epochs=1), np.arange(3, 90, 2)
    target.keep_logits(splits.members, rows)
    part = splits.members.rows(rows)
    again = compute_logits(target.model, part, cpu, 256)
    np.testing.assert_allclose(target.logits(part), again, rtol=1e-5, atol=1e-6)


class Squared(torch.nn.Module):
    def forward(self, x):
        return x * x.abs()


def test_on_epoch_is_called_after_every_epoch_and_may_stop_the_training(splits, cpu):
    seen = []

    def on_epoch(epoch):
        assert not epoch.model.training
        seen.append((epoch.number, epoch.loss, epoch.privacy))
        return epoch.number < 3

    run(splits, cpu, on_epoch=on_epoch)
    assert [number for number, _, _ in seen] == [1, 2, 3]
    assert seen[0][1] > seen[2][1]


def test_dropout_acts_in_training_and_not_in_evaluation(splits, cpu):
    def build(shape, n_classes):
        return MLP(shape, n_classes, dropout=0.5)

    target = run(splits, cpu, build)
    assert np.array_equal(target.logits(splits.validation), target.logits(splits.validation))
    assert not torch.equal(weights(target), weights(run(splits, cpu)))


def test_sub_seeds_are_different_for_every_name_and_seed():
    seeds = [
        sub_seed(s, *names) for s in (0, 1) for names in (("a",), ("b",), ("a", 1), ("a", "1b"))
    ]
    assert len(set(seeds)) == len(seeds)


USER = """
import torch
from torch import nn
def good(shape, n_classes, width=8, dropout=0.0):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Dropout(dropout), nn.Linear(width, n_classes))
def rigid(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
def text(shape, n_classes):
    return "a model"
def narrow(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
def broken(shape, n_classes):
    raise RuntimeError("no weights")

class Net(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "their_models.py").write_text(USER)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_users_model_is_built_with_its_parameters(user_module):
    with torch.random.fork_rng():
        good = NamedModel.parse({"name": "their_models:good", "width": 5}).model
        module = good.build((1, 8, 8), 10, dropout=0.3)
    assert module[1].out_features == 5
    assert module[2].p == 0.3
    assert module.training


@pytest.mark.parametrize(
    ("name", "dropout", "message"),
    [
        ("text", 0.0, "must return an nn.Module, got str"),
        ("narrow", 0.0, r"must give logits of shape \(n, 10\), got \(2, 3\)"),
        ("broken", 0.0, "raised RuntimeError: no weights"),
        ("rigid", 0.2, "give the function a `dropout` parameter"),
    ],
)
def test_a_users_model_that_breaks_a_rule_is_named(user_module, name, dropout, message):
    named = NamedModel.parse({"name": f"their_models:{name}"})
    with torch.random.fork_rng(), pytest.raises(ModelError, match=message):
        named.model.build((1, 8, 8), 10, dropout=dropout)


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((30,), r"`shape` is a tuple, \(30,\) here: use shape\[0\]$"),
        ((1, 8, 8), r"use shape\[0\] for channels, math.prod\(shape\) for all$"),
    ],
)
def test_a_model_that_takes_the_shape_for_a_number_is_told_to_index_it(user_module, shape, remedy):
    named = NamedModel.parse({"name": "their_models:Net"})
    with pytest.raises(ModelError, match=remedy):
        named.model.build(shape, 10)


def test_plain_training_has_no_privacy_guarantee(splits, cpu):
    assert run(splits, cpu, epochs=1).privacy is None


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.usefixtures("chance")
def test_pooling_before_the_activation_changes_neither_logits_nor_gradients(activation, p):
    model = ThesisCnn(activation=activation).build((1, 28, 28), 10, dropout=p)
    slow = copy.deepcopy(model)
    slow.forward = types.MethodType(nn.Sequential.forward, slow)
    x, y, logits = torch.rand(6, 1, 28, 28), torch.arange(6), []
    for each in (model, slow):
        with isolated_rng(3, torch.device("cpu")):
            logits.append(each(x))
        cross_entropy(logits[-1], y).sum().backward()
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-6)
    for fast, plain in zip(model.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(fast.grad, plain.grad, rtol=1e-4, atol=1e-6)


def test_tensors_are_copied_to_a_device_at_once():
    given = [torch.arange(6).view(2, 3), torch.zeros(2, 0), torch.arange(2).view(2, 1)]
    assert copy_at_once(given, torch.device("cpu")) is given  # one by one
    sizes = [x.shape for x in copy_at_once(given, torch.device("meta"))]
    assert sizes == [(2, 3), (2, 0), (2, 1)]
    assert list(copy_at_once([], torch.device("meta"))) == []


@pytest.mark.parametrize("tanh", [FastTanh(), PackedTanh([FastTanh()])])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 3e-7), (torch.float64, 0)])
def test_the_fast_tanh_is_tanh(tanh, dtype, apart):
    fast = torch.linspace(-15, 15, 30001, dtype=dtype).requires_grad_()
    slow = fast.detach().clone().requires_grad_()
    y = tanh(fast)
    torch.testing.assert_close(y, slow.tanh(), rtol=0, atol=apart)
    assert (y.diff() >= 0).all()  # pooling may come first
    zeros = torch.zeros_like(y)
    torch.testing.assert_close(tanh(zeros), zeros, rtol=0, atol=0)

    y.sum().backward()
    slow.tanh().sum().backward()
    torch.testing.assert_close(fast.grad, slow.grad, rtol=0, atol=2 * apart)
    ends = torch.tensor([-torch.inf, torch.inf, torch.nan], dtype=dtype).repeat(10_000)
    torch.testing.assert_close(tanh(ends), ends.tanh(), equal_nan=True)


@pytest.mark.parametrize("n_classes", [4, 5, 10, 15, 16])
def test_the_cross_entropy_of_many_rows_is_that_of_torch(n_classes, monkeypatch):
    monkeypatch.setattr(recipe, "HAS_AVX512", True)
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(600, n_classes, generator=generator)
    logits[0] *= 1000  # its exponential overflows
    logits += 1000  # of which the difference to the label's logit is small
    y = torch.randint(n_classes, (600,), generator=generator)
    for targets in (y, torch.full_like(logits, 1 / n_classes)):
        fast, slow = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        losses = torch.nn.functional.cross_entropy(slow, targets, reduction="none")
        torch.testing.assert_close(cross_entropy(fast, targets), losses, rtol=1e-5, atol=1e-5)
        cross_entropy(fast, targets).sum().backward()
        losses.sum().backward()
        torch.testing.assert_close(fast.grad, slow.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.usefixtures("chance")
def test_dropout_drops_its_share_and_keeps_the_mean(p, layout):
    dropout = FastDropout(p)
    x = torch.ones(64, 8, 16, 16).to(memory_format=layout).requires_grad_()
    n = x.numel()
    given = dropout(x)
    dropped = int((given == 0).sum())
    assert abs(dropped - p * n) <= 4 * (n * p * (1 - p)) ** 0.5 + n / 2**16
    kept = given[given != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / dropout.keep))
    given.sum().backward()
    assert torch.equal(x.grad, given.detach())
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("name", ["conv1", "conv1.1"])
@pytest.mark.usefixtures("chance")
def test_a_layer_with_a_hook_keeps_its_position(name):
    model = ThesisCnn().build((1, 28, 28), 10).eval()
    seen = []
    watched = model.get_submodule(name)
    watched.register_forward_hook(lambda _m, _i, output: seen.append(output))
    x = torch.rand(2, 1, 28, 28)
    model(x)
    assert seen[0].shape == (2, 32, 28, 28)
    torch.testing.assert_close(seen[0], torch.relu(model.conv1[0](x)))


class Views(nn.Module):
    """A user's model that needs the usual layout in memory."""

    def __init__(self):
        super().__init__()
        self.conv, self.output = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10)

    def forward(self, x):
        x = torch.tanh(self.conv(x))
        return self.output(x.view(len(x), -1))


@pytest.mark.usefixtures("chance")
def test_a_model_that_calls_view_keeps_its_layout():
    model, example = Views(), torch.rand(2, 1, 8, 8)
    before = model(example)
    channels_last(model, example)
    torch.testing.assert_close(model(example), before)
    assert model.conv.weight.is_contiguous()
    laid_out = channels_last(ThesisCnn().build((1, 8, 8), 10), example)
    assert laid_out.conv2[0].weight.is_contiguous(memory_format=torch.channels_last)
