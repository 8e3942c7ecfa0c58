"""Train several small models of one recipe at once, as one model.

When a small network is trained alone, the processor is idle between its layers.
"""

from __future__ import annotations

import functools
import gc
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from math import inf, isfinite

import torch
from torch import Tensor, nn

from raysweep.config import sub_seed
from raysweep.data import Split
from raysweep.errors import TrainingDiverged
from raysweep.training.devices import copy_at_once, is_lack_of_memory
from raysweep.training.loop import isolated_rng, make_optimizer, reader, take, train
from raysweep.training.packed_models import PackedModels, pack
from raysweep.training.recipe import EVALUATION_BATCH, Mechanism, Recipe
from raysweep.training.target import TrainedTarget, pixels

MAX_MODELS = 16
"""Most models that are packed into one on a CPU, and the first number that a GPU tries.

On a CPU more are no faster and take more memory.
"""

MAX_MODELS_ON_GPU = 64

_SIZES_ON_GPUS: dict[Hashable, PackSize] = {}
"""How many models were found to be trained best at once in this process, by their kind."""

MAX_BYTES = 2**30
"""Most bytes of all members of the models that a GPU trains at once, beyond MAX_MODELS."""

MAX_MULTIPLICATIONS = 3_000_000
"""Most multiplications of one model's forward pass of a batch for which packing pays on a CPU."""


def train_all(
    recipe: Recipe, members: Sequence[Split], *, seeds: Sequence[int], device: torch.device
) -> list[TrainedTarget]:
    """Return one target for each of ``members`` and its seed.

    Each is the target that :func:`~raysweep.training.loop.train` returns, up to rounding. Small
    models of known layers are trained many at once, and others one after the other.
    """
    return list(each_target(recipe, members, seeds=seeds, device=device))


def each_target(
    recipe: Recipe, members: Iterable[Split], *, seeds: Sequence[int], device: torch.device
) -> Iterator[TrainedTarget]:
    """Yield the targets of :func:`train_all`, and draw the members of a pack as it is trained."""
    undrawn = zip(members, seeds, strict=True)
    waiting = deque(islice(undrawn, 2))
    if not waiting:
        return
    size = _size_for(_packing(recipe, waiting, device))
    while True:
        waiting.extend(islice(undrawn, max(0, size.models - len(waiting))))
        part = [waiting.popleft() for _ in range(min(size.models, len(waiting)))]
        if not part:
            return
        packing, began = _packing(recipe, part, device), time.perf_counter()
        if not packing.is_faster:
            yield from packing.train_one_by_one()
        elif targets := _train_if_it_fits(packing):
            size.note(len(part), time.perf_counter() - began, part[0][0].features.nbytes)
            yield from targets
            del targets
        else:
            size.halve(len(part))
            waiting.extendleft(reversed(part))
        del part, packing  # before others take their place in memory


def _packing(recipe: Recipe, pairs: Iterable[tuple[Split, int]], device: torch.device) -> Packing:
    members, seeds = zip(*pairs, strict=True)
    return Packing(recipe, members, seeds, device)


def _train_if_it_fits(packing: Packing) -> list[TrainedTarget]:
    """Return the targets, or none of them where a GPU's memory is too small for all at once."""
    try:
        return packing.train()
    except RuntimeError as error:
        if not is_lack_of_memory(error):
            raise
    gc.collect()  # the hooks of DP-SGD and what they recorded hold each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return []


def _size_for(packing: Packing) -> PackSize:
    """Return how many models like these are trained at once; a GPU's are kept for later trials."""
    size = PackSize(packing.is_faster, packing.device)
    if packing.device.type == "cpu" or size.models == 1:
        return size
    return _SIZES_ON_GPUS.setdefault(packing.kind, size)


class PackSize:
    """How many ``models`` are trained at once.

    On a CPU it was measured, see MAX_MODELS. On a GPU it doubles while each model takes less time
    than before and the members of all fit in MAX_BYTES, and halves where memory runs out. The time
    of the first pack does not count: it holds the start of the GPU.
    """

    def __init__(self, is_faster: bool, device: torch.device) -> None:
        self.models = MAX_MODELS if is_faster else 1
        self._is_found = not is_faster or device.type == "cpu"
        self._least: float | None = None  # seconds a model; None before a GPU has warmed up

    def halve(self, models: int) -> None:
        """Train half of ``models`` at once from here on: all of them were too many."""
        self.models, self._is_found = models // 2, True

    def note(self, models: int, seconds: float, n_bytes: int) -> None:
        """Choose the next size after ``models``, each with members of ``n_bytes``, took a time."""
        if self._is_found or models < self.models:
            return
        if self._least is None:  # the first pack, whose time holds the start of the GPU
            self._least = inf
        elif seconds / models >= self._least:
            self.halve(models)
        elif 2 * models > MAX_MODELS_ON_GPU or 2 * models * n_bytes > MAX_BYTES:
            self._is_found = True
        else:
            self.models, self._least = 2 * models, seconds / models


class Packing:
    """Several trainings of one recipe, each on its own members and with its own seed."""

    def __init__(
        self,
        recipe: Recipe,
        members: Sequence[Split],
        seeds: Sequence[int],
        device: torch.device,
    ) -> None:
        self._recipe, self._members, self._seeds, self.device = recipe, members, seeds, device

    @property
    def is_faster(self) -> bool:
        """Whether the models are trained at once: on a CPU where it was measured to be faster.

        On a GPU they always are, in the expectation that it waits between the layers of one small
        model; :class:`PackSize` measures how many.
        """
        if not self.is_possible or self.device.type != "cpu":
            return self.is_possible
        example = torch.zeros(1, *self._members[0].shape)
        n_multiplications = count_multiplications(self._first_model, example)
        return n_multiplications * self._recipe.training.batch_size <= MAX_MULTIPLICATIONS

    @property
    def is_possible(self) -> bool:
        """Whether the models can be trained at once."""
        recipe = self._recipe
        sizes = {len(split) for split in self._members}
        if len(self._members) < 2 or len(sizes) > 1:
            return False
        if recipe.relabel is not None or recipe.augment is not None or recipe.companion is not None:
            return False
        if recipe.memory_parts > 1 or recipe.training.precision != "fp32":
            return False

        return pack([self._first_model] * 2, [torch.Generator()] * 2) is not None

    @property
    def kind(self) -> Hashable:
        """What the time and the memory of one model depend on: equal for trainings alike."""
        n_parameters = sum(parameter.numel() for parameter in self._first_model.parameters())
        shape = (len(self._members[0]), *self._members[0].shape)
        return self.device, self._recipe.training, n_parameters, shape

    @functools.cached_property
    def _first_model(self) -> nn.Module:
        return self._build_model(self._members[0], self._seeds[0])

    def train_one_by_one(self) -> Iterator[TrainedTarget]:
        """Yield the targets, trained one after the other."""
        for split, seed in zip(self._members, self._seeds, strict=True):
            yield train(self._recipe, split, seed=seed, device=self.device)

    def train(self) -> list[TrainedTarget]:
        """Return the targets, trained at once."""
        recipe, training, n = self._recipe, self._recipe.training, len(self._members[0])
        models = [self._build_model(split, seed) for split, seed in self._pairs()]
        packed = pack(models, [self._generator(seed, "forward") for seed in self._seeds])
        assert packed is not None
        packed.train()

        x = torch.stack([split.tensors(self.device)[0] for split in self._members])
        y = torch.stack([split.tensors(self.device)[1] for split in self._members])

        mechanism = recipe.mechanism(n)
        optimizer = make_optimizer(training, packed.parameters())
        examples = pixels(x[:, :1], self._members[0])
        mechanism.check(models[0], pixels(x[0, :EVALUATION_BATCH], self._members[0]))
        mechanism.attach(packed, examples, seeds=[sub_seed(seed, "noise") for seed in self._seeds])

        read, all_labels = reader(x.flatten(0, 1), self._members[0]), y.flatten()
        orders = [torch.Generator().manual_seed(sub_seed(s, "batches")) for s in self._seeds]
        first_rows = n * torch.arange(len(models), device=self.device)[:, None]
        for number in range(1, training.epochs + 1):
            loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)

            for rows, is_real, counts in self._batches(mechanism, orders):
                optimizer.zero_grad()
                rows = first_rows + rows  # among those of all models
                labels = take(all_labels, rows)
                loss = _packed_loss(packed, recipe, labels, counts, is_real)
                loss_sum += mechanism.gradients(loss, read(rows)).sum()
                if recipe.penalty is not None:
                    recipe.penalty(packed).backward()
                optimizer.step()

            if not isfinite(total := float(loss_sum)):  # read once: a GPU waits for it
                raise TrainingDiverged(
                    f"a loss of epoch {number} is {total}", remedy="lower learning_rate"
                )

        privacy = mechanism.privacy_spent()
        mechanism.release()
        packed.unpack()
        return [
            TrainedTarget(
                model=model.eval(),
                n_classes=split.n_classes,
                privacy=privacy,
                _members=split,
                device=self.device,
            )
            for model, split in zip(models, self._members, strict=True)
        ]

    def _batches(
        self, mechanism: Mechanism, orders: Sequence[torch.Generator]
    ) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Yield each step's rows of all models on the device, which are real, and their counts."""
        padded = map(_at_least_one_row, mechanism.packed_batches(orders))
        if self.device.type == "cpu":
            yield from padded
            return
        rows, is_real, counts = zip(*padded, strict=True)
        on_device = (copy_at_once(parts, self.device) for parts in (rows, is_real))
        yield from zip(*on_device, counts, strict=True)

    def _pairs(self) -> Iterator[tuple[Split, int]]:
        return zip(self._members, self._seeds, strict=True)

    def _build_model(self, members: Split, seed: int) -> nn.Module:
        with isolated_rng(sub_seed(seed, "initialisation"), self.device):
            model = self._recipe.build_model(members.shape, members.n_classes)
        return model.to(self.device).train()

    def _generator(self, seed: int, name: str) -> torch.Generator:
        return torch.Generator(device=self.device).manual_seed(sub_seed(seed, name))


def count_multiplications(model: nn.Module, example: Tensor) -> int:
    """Return the multiplications of a forward pass of ``example`` (1, *shape)."""
    count = 0

    def add(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal count
        n_pixels = output.shape[2:].numel()  # 1 of a linear layer
        count += layer.get_parameter("weight").numel() * n_pixels

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    was_training = model.training
    with torch.no_grad():
        model.eval()(example)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return count


def _packed_loss(
    packed: PackedModels, recipe: Recipe, labels: Tensor, counts: Sequence[int], is_real: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return the loss function of one batch: inputs (K, n, *shape) to losses (K, n).

    The loss of a row is 0 where ``is_real`` is 0. Parts of a batch must come in order, as in
    :func:`~raysweep.training.loop.train`.
    """
    start = 0

    def loss(inputs: Tensor) -> Tensor:
        nonlocal start
        n = inputs.shape[1]
        part = slice(start, start + n)
        counts_of_part = [min(max(0, count - start), n) for count in counts]
        start += n

        logits = packed(inputs, counts_of_part)
        losses = recipe.loss(logits.flatten(0, 1), labels[:, part].flatten())
        return losses.view(-1, n) * is_real[:, part]

    return loss


def _at_least_one_row(batches: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, list[int]]:
    """Return the rows of K batches, 1 where a row is real, (K, n) each, and the sizes."""
    rows, is_real = batches
    if rows.shape[1] == 0:
        rows, is_real = rows.new_zeros(len(rows), 1), is_real.new_zeros(len(rows), 1)
    return rows, is_real.float(), is_real.sum(1).tolist()
