"""Models that are trained at once equal those that are trained alone."""

import contextlib
import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch

from raysweep.config import Training
from raysweep.defences import Defences
from raysweep.defences.dpsgd import clipping, gradients
from raysweep.models import MODELS
from raysweep.models.fast_layers import FastDropout
from raysweep.training import packing
from raysweep.training.loop import train
from raysweep.training.recipe import plain_recipe

DEFENDED = [
    {},
    {"dropout": 0.3, "l2": 0.01},
    {"label_smoothing": 0.2, "early_stopping": 1},
    {"l2": 0.01, "l2_scope": "all"},
    {"noise_multiplier": 1.0, "dropout": 0.2},
]
MLP = MODELS["mlp"](hidden=(32, 16), activation="tanh").build
CNN = MODELS["thesis_cnn"](widths=(4, 8, 8), dense=16).build


def normalised(shape, n_classes, dropout=0.0):
    """A network with grouped convolutions, strides, GroupNorm, and pooling by means."""
    first = torch.nn.Conv2d(shape[0], 8, 3, padding=1, bias=False)
    second = torch.nn.Conv2d(8, 8, 3, stride=2, dilation=2, padding=2, groups=2)
    layers = (first, torch.nn.GroupNorm(4, 8), torch.nn.Tanh(), FastDropout(dropout))
    layers += (torch.nn.AvgPool2d(2), second, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2))
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32, n_classes))


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make_packing(splits, values, cpu, build=MLP, n=5, **training):
    options = {"epochs": 6, "batch_size": 25, "learning_rate": 1e-2, **training}
    recipe = Defences.parse(values).apply(plain_recipe(build, Training(**options)), splits.pool)
    orders = [np.random.default_rng(k).permutation(len(splits.pool))[:100] for k in range(n)]
    members = [splits.pool.rows(order) for order in orders]
    return packing.Packing(recipe, members, list(range(n)), cpu)


def largest_gap(one, other):
    pairs = zip(one, other, strict=True)
    gaps = [
        float((p - q).detach().abs().max())
        for a, b in pairs
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True)
    ]
    return max(gaps)


@pytest.mark.parametrize("values", DEFENDED)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.usefixtures("float64")
def test_after_training_in_float64_every_model_is_the_one_trained_alone(
    splits, cpu, values, optimizer
):
    trainings = make_packing(splits, values, cpu, optimizer=optimizer)
    together, alone = trainings.train(), list(trainings.train_one_by_one())
    assert largest_gap(together, alone) < 1e-5
    assert [a.privacy for a in together] == [a.privacy for a in alone]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.member_loss, other.member_loss, rtol=1e-5)
    assert largest_gap(together[:1], alone[1:2]) > 1e-3  # each has its own seed and members


@pytest.mark.parametrize("values", DEFENDED)
def test_after_one_step_in_float32_every_model_is_the_one_trained_alone(splits, cpu, values):
    # Adam's first step would divide a gradient that is 0 but for rounding by its own size.
    optimizer = "sgd" if "label_smoothing" in values else "adam"
    trainings = make_packing(splits, values, cpu, epochs=1, batch_size=100, optimizer=optimizer)
    assert largest_gap(trainings.train(), trainings.train_one_by_one()) < 1e-5


@pytest.mark.parametrize("build", [CNN, normalised])
@pytest.mark.parametrize("values", DEFENDED)
@pytest.mark.usefixtures("float64")
def test_convolutions_and_group_norms_trained_at_once_are_those_trained_alone(
    splits, cpu, values, build
):
    trainings = make_packing(splits, values, cpu, build, n=3, optimizer="sgd")
    assert trainings.is_possible
    together, alone = trainings.train(), list(trainings.train_one_by_one())
    assert largest_gap(together, alone) < 1e-5
    assert largest_gap(together[:1], alone[1:2]) > 1e-3


@pytest.mark.parametrize("build", [CNN, normalised])
@pytest.mark.parametrize("values", DEFENDED)
def test_after_one_step_in_float32_every_convolution_is_the_one_trained_alone(
    splits, cpu, values, build
):
    # Adam's first step would divide a gradient that is 0 but for rounding by its own size.
    options = {"n": 3, "epochs": 1, "batch_size": 100, "optimizer": "sgd"}
    trainings = make_packing(splits, values, cpu, build, **options)
    assert largest_gap(trainings.train(), trainings.train_one_by_one()) < 1e-5


@pytest.mark.parametrize("build", [MLP, CNN])
def test_a_private_step_in_several_physical_batches_is_the_one_trained_alone(
    splits, cpu, build, monkeypatch
):
    values = {"noise_multiplier": 1.0, "dropout": 0.2}
    trainings = make_packing(splits, values, cpu, build, n=3, epochs=1, batch_size=100)
    whole = trainings.train()
    monkeypatch.setattr(gradients, "PHYSICAL_BUDGET", {"cpu": 2**15, "cuda": 2**15})
    together, alone = trainings.train(), list(trainings.train_one_by_one())
    assert largest_gap(together, alone) < 1e-5
    assert largest_gap(together, whole) > 1e-5  # dropout has drawn in another order


@pytest.mark.parametrize("values", [{}, {"noise_multiplier": 1.0}])
def test_the_batches_of_packed_models_are_those_of_each_alone(splits, values):
    plain = plain_recipe(MLP, Training(batch_size=1))
    n, seeds = 50, (3, 4)
    mechanism = Defences.parse(values).apply(plain, splits.reference).mechanism(n)
    alone = [list(mechanism.batches(torch.Generator().manual_seed(seed))) for seed in seeds]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    packed = list(mechanism.packed_batches(generators))
    sizes = [[len(batch) for batch in batches] for batches in alone]
    assert values == {} or any(max(step) == 0 for step in zip(*sizes, strict=True))

    for (rows, are_real), *batches in zip(packed, *alone, strict=True):
        for row, is_real, batch in zip(rows, are_real, batches, strict=True):
            assert torch.equal(row[is_real], batch)
            assert is_real[: len(batch)].all()  # the real ones come first


def test_only_several_small_models_of_known_layers_are_packed(splits, cpu):
    assert make_packing(splits, {}, cpu).is_faster
    assert make_packing(splits, {}, cpu, build=CNN).is_faster
    assert not make_packing(splits, {}, cpu, n=1).is_faster
    assert not make_packing(splits, {}, cpu, build=MODELS["mlp"](hidden=(3000,)).build).is_faster
    assert not make_packing(splits, {}, cpu, build=MODELS["thesis_cnn"]().build).is_faster
    assert not make_packing(splits, {}, cpu, build=user_model).is_faster
    assert not make_packing(splits, {}, cpu, build=user_model).is_possible


@pytest.mark.parametrize(
    ("values", "training"),
    [
        ({"distillation_temperature": 2.0}, {}),
        ({"random_crop": 1}, {}),
        ({"gaussian_noise": 0.1}, {}),
        ({"adversarial_regularisation": 1.0}, {}),
        ({}, {"precision": "bf16"}),
    ],
)
def test_what_cannot_be_packed_is_trained_one_after_the_other(splits, cpu, values, training):
    trainings = make_packing(splits, values, cpu, **training)
    assert not trainings.is_possible
    assert not trainings.is_faster


def test_models_that_save_memory_by_parts_are_trained_one_after_the_other(splits, cpu):
    trainings = make_packing(splits, {}, cpu)
    divided = dataclasses.replace(trainings._recipe, memory_parts=2)
    assert not packing.Packing(divided, trainings._members, trainings._seeds, cpu).is_possible


def test_multiplications_are_counted():
    """Of the thesis' network on 8x8: kernels times pixels, and the dense layers' weights."""
    convolutions = 9 * 4 * 64 + 9 * 4 * 8 * 16 + 9 * 8 * 8 * 4
    with torch.random.fork_rng():
        model = CNN((1, 8, 8), 10)
    count = packing.count_multiplications(model, torch.zeros(1, 1, 8, 8))
    assert count == convolutions + 8 * 16 + 16 * 10


def user_model(shape, n_classes, dropout=0.0):
    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * 2

    return Doubled(int(np.prod(shape)), n_classes)


def test_more_models_than_are_packed_at_once_come_back_in_order(splits, cpu, monkeypatch):
    monkeypatch.setattr(packing, "MAX_MODELS", 2)
    trainings = make_packing(splits, {}, cpu, epochs=2)
    recipe, members, seeds = trainings._recipe, trainings._members, trainings._seeds
    targets = packing.train_all(recipe, members, seeds=seeds, device=cpu)
    alone = [train(recipe, m, seed=s, device=cpu) for m, s in zip(members, seeds, strict=True)]
    assert largest_gap(targets, alone) < 1e-4


@pytest.mark.parametrize(
    ("seconds_per_model", "packs"),
    [
        ({2: 3.0, 4: 2.0, 8: 1.0}, [2, 2, 4, 8, 16, 8, 8, 8]),
        ({2: 3.0, 4: 2.0, 8: 2.5}, [2, 2, 4, 8, 4, 4, 4, 4, 4, 4]),
    ],
)
def test_on_a_gpu_memory_and_speed_choose_how_many_are_trained_at_once(
    splits, cpu, monkeypatch, seconds_per_model, packs
):
    """A GPU's memory and its clock are stood in for: 10 models fit."""
    trainings, asked, clock = make_packing(splits, {}, cpu, n=40, epochs=1), [], [0.0]
    recipe, members, seeds = trainings._recipe, trainings._members, trainings._seeds
    train_packed, size = packing.Packing.train, packing.PackSize

    def limited(self):
        k = len(self._members)
        asked.append(k)
        if k > 10:
            raise torch.OutOfMemoryError(f"no memory for {k} models")
        clock[0] += k * seconds_per_model[k]
        return train_packed(self)

    def as_on_a_gpu(is_faster, _device):
        return size(is_faster, torch.device("cuda"))

    monkeypatch.setattr(packing.Packing, "train", limited)
    monkeypatch.setattr(packing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(packing, "MAX_MODELS", 2)
    monkeypatch.setattr(packing, "PackSize", as_on_a_gpu)
    targets = packing.train_all(recipe, members, seeds=seeds, device=cpu)
    assert asked == packs
    alone = [train(recipe, m, seed=s, device=cpu) for m, s in zip(members, seeds, strict=True)]
    assert largest_gap(targets, alone) < 1e-4


@pytest.mark.parametrize(
    ("of_32", "n_bytes", "models"),
    [(0.5, 1, 64), (1.0, 1, 16), (2.0, 1, 16), (0.5, 2**24, 64), (0.5, 2**24 + 1, 32)],
)
def test_a_pack_grows_while_it_is_faster_and_its_members_fit(of_32, n_bytes, models):
    size = packing.PackSize(True, torch.device("cuda"))
    for seconds in (16 * 9.0, 16 * 1.0):  # the first holds the start of the GPU
        assert size.models == 16
        size.note(16, seconds, 1)
    assert size.models == 32
    size.note(32, 32 * of_32, n_bytes)
    assert size.models == models


def test_a_pack_that_cannot_grow_keeps_its_size_whatever_the_clock_says():
    size = packing.PackSize(True, torch.device("cuda"))
    for models, seconds in ((16, 9.0), (16, 1.0), (32, 0.5), (64, 0.4), (64, 0.41), (64, 0.9)):
        assert size.models == models
        size.note(models, models * seconds, 1)
    assert size.models == 64


def test_a_size_found_on_a_gpu_is_kept_for_the_trainings_like_it(splits, cpu, monkeypatch):
    monkeypatch.setattr(packing, "_SIZES_ON_GPUS", {})
    gpu = torch.device("meta")  # stands in for one: nothing is trained

    def size(device, **training):
        return packing._size_for(make_packing(splits, {}, device, **training))

    size(gpu).halve(8)
    assert size(gpu).models == 4
    assert size(gpu, batch_size=50).models == packing.MAX_MODELS
    size(cpu).halve(8)
    assert size(cpu).models == packing.MAX_MODELS


@pytest.mark.parametrize(
    ("error", "is_caught"),
    [
        (torch.OutOfMemoryError("no memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_only_a_lack_of_memory_makes_packs_smaller(splits, cpu, monkeypatch, error, is_caught):
    trainings, train_packed = make_packing(splits, {}, cpu, n=4, epochs=1), packing.Packing.train

    def limited(self):
        if len(self._members) > 2:
            raise error
        return train_packed(self)

    monkeypatch.setattr(packing.Packing, "train", limited)
    given = {"seeds": trainings._seeds, "device": cpu}
    with contextlib.nullcontext() if is_caught else pytest.raises(RuntimeError, match="shapes"):
        assert len(packing.train_all(trainings._recipe, trainings._members, **given)) == 4


def test_members_are_drawn_as_they_are_trained(splits, cpu, monkeypatch):
    monkeypatch.setattr(packing, "MAX_MULTIPLICATIONS", 0)  # one by one, as large models are
    trainings, drawn = make_packing(splits, {}, cpu, n=8, epochs=1), []

    def draw():
        for members in trainings._members:
            half = members.rows(np.arange(len(members)))
            drawn.append(weakref.ref(half))
            yield half
            del half

    alive = []
    targets = packing.each_target(trainings._recipe, draw(), seeds=trainings._seeds, device=cpu)
    for target in targets:
        del target
        alive.append(sum(half() is not None for half in drawn))
    assert max(alive) <= 2


def test_a_private_pack_that_lacked_memory_is_gone_when_a_smaller_one_is_trained(
    splits, cpu, monkeypatch
):
    trainings = make_packing(splits, {"noise_multiplier": 1.0}, cpu, n=4, epochs=1)
    add, pack, packs, alive = clipping.LayerwiseClipping._add_clipped, packing.pack, [], []

    def noted(models, generators):
        alive.append(sum(packed() is not None for packed in packs))
        packed = pack(models, generators)
        if len(models) == 4:
            packs.append(weakref.ref(packed))
        return packed

    def limited(self, of_outputs):
        if len(of_outputs[0]) == 4:  # models
            raise torch.OutOfMemoryError("no memory")
        add(self, of_outputs)

    monkeypatch.setattr(packing, "pack", noted)
    monkeypatch.setattr(clipping.LayerwiseClipping, "_add_clipped", limited)
    gc.disable()
    try:
        targets = packing.train_all(
            trainings._recipe, trainings._members, seeds=trainings._seeds, device=cpu
        )
    finally:
        gc.enable()
    assert len(targets) == 4
    assert len(packs) == 1
    assert alive[-1] == 0


def test_a_lack_of_memory_for_one_model_is_an_error(splits, cpu, monkeypatch):
    trainings = make_packing(splits, {}, cpu, n=3, epochs=1)

    def fail(*_, **__):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(packing.Packing, "train", fail)
    monkeypatch.setattr(packing, "train", fail)
    with pytest.raises(torch.OutOfMemoryError):
        packing.train_all(trainings._recipe, trainings._members, seeds=trainings._seeds, device=cpu)
