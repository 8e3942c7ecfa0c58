"""The recipe and the one training loop. Read :func:`train` from top to bottom.

A recipe says everything about how a target comes to be; a defence turns one recipe into another.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysweep import signals
from raysweep.config import Training, sub_seed
from raysweep.data import Split
from raysweep.errors import ModelError, TrainingDiverged
from raysweep.layers import autocast, channels_last
from raysweep.optimizers import SGD, Adam, Optimizer

EVALUATION_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class PrivacySpent:
    """What a training has cost so far, add-or-remove-one, of the released weights only."""

    epsilon: float
    delta: float
    noise_multiplier: float
    sample_rate: float
    steps: int
    accountant: str
    accountant_settings: str
    clipping: str


class Mechanism(Protocol):
    """Turns examples into gradients: plainly, or by DP-SGD. One serves one training."""

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the example indices of each step of one epoch."""

    def check(self, model: nn.Module, example: Tensor) -> None:
        """Refuse a model that it cannot serve; ``example`` is one input."""

    def hold(self, model: nn.Module, example: Tensor, *, seeds: Sequence[int]) -> None:
        """Take hold of the model before its first step; of K packed ones with as many seeds."""

    def divide(self, parts: int) -> None:
        """Hold ``parts`` times fewer examples in memory at once; after :meth:`hold`."""

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Leave the step's gradient in every ``p.grad``; return the examples' losses (n,).

        Of K packed models losses are (K, n), and each model has its own gradient.
        """

    def spent(self) -> PrivacySpent | None:
        """Return the privacy spent by the steps so far; None without a guarantee."""

    def release(self) -> None:
        """Let go of the model after its last step."""


class Companion(Protocol):
    """Learns beside the model and adds to its loss: an inner adversary. One serves one training."""

    def update(self, model: nn.Module) -> None:
        """Take its turn before a step of the model."""

    def penalty(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return what is added to each example's loss, (n,)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a target comes to be; a slot that is None is plain training.

    ``build_model(shape, n_classes)`` gives logits; ``loss(logits, targets)`` gives (n,), of labels
    (n,) or of probabilities (n, classes); ``mechanism(n, steps)`` turns examples into gradients;
    ``relabel(members, seed=, device=)`` gives the probabilities that replace the labels;
    ``augment`` changes each batch of inputs (n, *shape) in [0, 1]; ``companion(members, seed=,
    device=)`` learns beside the model; ``penalty(model)`` is added outside clipping and noise,
    since it sees no example. ``memory_parts``: a physical batch is so many times smaller than
    usual; the step's gradient stays that of the whole batch.
    """

    build_model: Callable[..., nn.Module]
    training: Training
    mechanism: Callable[[int, int], Mechanism]
    loss: Callable[[Tensor, Tensor], Tensor]
    relabel: Callable[..., Tensor] | None = None
    augment: Callable[[Tensor], Tensor] | None = None
    companion: Callable[..., Companion] | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    memory_parts: int = 1

    @property
    def evaluation_batch(self) -> int:
        """How many examples an evaluation holds at once."""
        return max(1, EVALUATION_BATCH // self.memory_parts)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The state after an epoch: ``model`` in evaluation mode, ``loss`` the mean over batches."""

    number: int
    model: nn.Module
    loss: float
    train_accuracy: float | None
    privacy: PrivacySpent | None


@dataclass(frozen=True, kw_only=True)
class TrainedTarget:
    """A trained model as an attacker meets it: in evaluation mode, on original inputs.

    ``member_loss`` is the (mean, median) cross-entropy over the members: what Yeom's threshold is
    granted.
    """

    model: nn.Module
    n_classes: int
    privacy: PrivacySpent | None
    member_loss: tuple[float, float]
    device: torch.device
    evaluation_batch: int = EVALUATION_BATCH
    _known: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def logits(self, examples: Split) -> NDArray[np.float32]:
        """Return the logits, (n, classes); computed once for the same examples in one order."""
        key = hashlib.sha256(examples.indices.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._evaluate(examples)
        return self._known[key]

    def activations(self, examples: Split, layer: str) -> Tensor:
        """Return the flat activations after ``layer``, (n, features), on the CPU.

        ``output`` is the prediction vector as log(max(p, 1e-7)): what a black-box attacker sees.
        Layers above are not run.

        Raises:
            ModelError: the model has no such layer, or does not call it.

        """
        if layer == "output":
            return torch.from_numpy(signals.inversion_view(self.logits(examples))).float()
        modules = dict(self.model.named_modules())
        if layer not in modules:
            names = ", ".join(name for name in modules if name)
            raise ModelError(f"the model has no layer {layer!r}; it has {names}")

        def reach(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            raise _Reached(output)

        def seen(x: Tensor) -> Tensor:
            try:
                self.model(x)
            except _Reached as reached:
                return reached.output.flatten(1)
            told = f"the model did not call its layer {layer!r}"
            raise ModelError(f"{told}; its activations cannot be observed")

        hook = modules[layer].register_forward_hook(reach)
        try:
            return _outputs(seen, examples, self.device, self.evaluation_batch)
        finally:
            hook.remove()

    def _evaluate(self, examples: Split) -> NDArray[np.float32]:
        return _logits(self.model, examples, self.device, self.evaluation_batch)


class _Reached(Exception):
    """The layer that is asked for has spoken: what lies above it need not run."""

    def __init__(self, output: Tensor) -> None:
        self.output = output


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return each example's cross-entropy, (n,), with its label or with probabilities."""
    return F.cross_entropy(logits, targets, reduction="none")


def make_optimizer(training: Training, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return the optimizer that ``training`` names."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return SGD(parameters, rate, momentum=training.momentum, weight_decay=decay)
    return Adam(parameters, rate, weight_decay=decay, amsgrad=training.optimizer == "amsgrad")


@contextlib.contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators inside the block and put them back after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def pixels(x: Tensor, examples: Split) -> Tensor:
    """Return stored values as torch's default floats in [0, 1]."""
    return x.to(torch.get_default_dtype()) / examples.top


class PlainGradients:
    """Shuffled batches and the gradient of their mean loss: training without a guarantee."""

    def __init__(self, n: int, batch_size: int) -> None:
        self._n, self._batch_size = n, batch_size
        self._physical: int | None = None

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield each example once, in a new order."""
        yield from torch.randperm(self._n, generator=generator).split(self._batch_size)

    def check(self, model: nn.Module, example: Tensor) -> None:
        """Do nothing: every model will do."""

    def hold(self, model: nn.Module, example: Tensor, *, seeds: Sequence[int]) -> None:
        """Do nothing: there is no noise to seed and nothing to hook."""

    def divide(self, parts: int) -> None:
        """Hold ``parts`` times fewer examples in memory at once."""
        self._physical = ceil(self._batch_size / parts)

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Leave the gradient of the mean loss in every ``p.grad``."""
        if self._physical is None:
            losses = loss(x)
            losses.mean(-1).sum().backward()
            return losses.detach()
        parts = []
        for part in x.split(self._physical):
            parts.append(loss(part))
            (parts[-1].sum() / len(x)).backward()
        return torch.cat(parts).detach()

    def spent(self) -> None:
        """Return None: nothing is guaranteed."""
        return

    def release(self) -> None:
        """Do nothing: the model was left as it is."""


def plain_recipe(build_model: Callable[..., nn.Module], training: Training) -> Recipe:
    """Return the undefended recipe."""
    return Recipe(
        build_model=build_model,
        training=training,
        mechanism=lambda n, _steps: PlainGradients(n, training.batch_size),
        loss=cross_entropy,
    )


def train(
    recipe: Recipe,
    members: Split,
    *,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[Epoch], bool] | None = None,
) -> TrainedTarget:
    """Return a target trained on ``members`` by ``recipe``; the same for the same seed on a CPU.

    ``on_epoch`` sees every finished epoch and stops the training by returning False.

    Raises:
        TrainingDiverged: the loss is not finite.
        PrivacyError: DP was asked for and cannot be guaranteed.

    """
    training = recipe.training
    x, y = members.tensors(device)
    targets, companion = y, None
    if recipe.relabel is not None:
        targets = recipe.relabel(members, seed=sub_seed(seed, "relabel"), device=device)
    if recipe.companion is not None:
        companion = recipe.companion(members, seed=sub_seed(seed, "companion"), device=device)
    with isolated_rng(sub_seed(seed, "initialisation"), device):
        model = recipe.build_model(members.shape, members.n_classes).to(device).train()
    example = pixels(x[:1], members)
    channels_last(model, example)
    steps = training.epochs * ceil(len(members) / training.batch_size)
    mechanism = recipe.mechanism(len(members), steps)
    optimizer = make_optimizer(training, model.parameters())
    mechanism.check(model, example)
    mechanism.hold(model, example, seeds=[sub_seed(seed, "noise")])
    if recipe.memory_parts > 1:
        mechanism.divide(recipe.memory_parts)
    order = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    with isolated_rng(sub_seed(seed, "forward"), device):
        for number in range(1, training.epochs + 1):
            model.train()
            tally = _Tally()
            for batch in mechanism.batches(order):
                rows = batch.to(device)
                inputs = pixels(x[rows], members)
                if recipe.augment is not None:
                    inputs = recipe.augment(inputs)
                if companion is not None:
                    companion.update(model)
                optimizer.zero_grad()
                watched = tally.watch(model, recipe, companion, y[rows], targets[rows])
                batch_losses = mechanism.gradients(watched, inputs)
                if recipe.penalty is not None:
                    recipe.penalty(model).backward()
                optimizer.step()
                tally.add(batch_losses)
            epoch = tally.epoch(number, model.eval(), mechanism.spent())
            if on_epoch is not None and not on_epoch(epoch):
                break
    privacy = mechanism.spent()
    mechanism.release()
    return trained(model, members, privacy, device, batch=recipe.evaluation_batch)


def trained(
    model: nn.Module,
    members: Split,
    privacy: PrivacySpent | None,
    device: torch.device,
    *,
    batch: int = EVALUATION_BATCH,
) -> TrainedTarget:
    """Return a model after its last step as a target, evaluated ``batch`` examples at once.

    Raises:
        TrainingDiverged: its logits are not finite.

    """
    model.eval()
    logits = _logits(model, members, device, batch)
    if not np.isfinite(logits).all():
        remedy = "lower the learning rate"
        raise TrainingDiverged(f"the last step left a loss that is not finite; {remedy}")
    losses = signals.cross_entropy(logits, members.labels)
    return TrainedTarget(
        model=model,
        n_classes=members.n_classes,
        privacy=privacy,
        member_loss=(float(losses.mean()), float(np.median(losses))),
        device=device,
        evaluation_batch=batch,
    )


class _Tally:
    """Counts losses and right answers over the batches of an epoch."""

    def __init__(self) -> None:
        self.loss, self.right, self.n = 0.0, 0, 0

    def watch(
        self,
        model: nn.Module,
        recipe: Recipe,
        companion: Companion | None,
        y: Tensor,
        targets: Tensor,
    ) -> Callable[[Tensor], Tensor]:
        """Return the function from inputs to losses; a part of a batch comes in order."""
        start = 0

        def losses(x: Tensor) -> Tensor:
            nonlocal start
            part = slice(start, start + len(x))
            start += len(x)
            with autocast(x.device, recipe.training.precision):
                logits = model(x)
            logits, labels = logits.to(x.dtype), y[part]
            self.right += int((logits.detach().argmax(dim=1) == labels).sum())
            own = recipe.loss(logits, targets[part])
            return own if companion is None else own + companion.penalty(logits, labels)

        return losses

    def add(self, losses: Tensor) -> None:
        self.loss += float(losses.sum())
        self.n += len(losses)

    def epoch(self, number: int, model: nn.Module, privacy: PrivacySpent | None) -> Epoch:
        if not isfinite(self.loss):
            remedy = "lower the learning rate, or raise max_grad_norm with care"
            raise TrainingDiverged(f"the loss of epoch {number} is {self.loss}; {remedy}")
        n = max(1, self.n)
        accuracy = self.right / n if self.n else None
        return Epoch(
            number=number,
            model=model,
            loss=self.loss / n,
            train_accuracy=accuracy,
            privacy=privacy,
        )


@torch.inference_mode()
def _outputs(
    forward: Callable[[Tensor], Tensor], examples: Split, device: torch.device, batch: int
) -> Tensor:
    """Return what ``forward`` gives for examples in [0, 1], (n, ...) on the CPU."""
    x, _ = examples.tensors(device)
    return gathered((forward(pixels(part, examples)) for part in x.split(batch)), len(x))


def _logits(
    model: nn.Module, examples: Split, device: torch.device, batch: int
) -> NDArray[np.float32]:
    return _outputs(model, examples, device, batch).numpy()


def gathered(parts: Iterable[Tensor], n: int) -> Tensor:
    """Return parts (rows, ...) as one tensor of ``n`` rows, fp32, on the CPU.

    They are copied as they come: small results that live on between the large temporaries of a
    forward pass tear holes into the heap, which a worker then keeps.
    """
    found, done = torch.empty(0, dtype=torch.float32), 0
    for part in parts:
        if done == 0:
            found = torch.empty(n, *part.shape[1:], dtype=torch.float32)
        found[done : done + len(part)] = part
        done += len(part)
    return found


def accuracy(
    model: nn.Module, examples: Split, device: torch.device, *, batch: int = EVALUATION_BATCH
) -> float:
    """Return the share of examples whose highest logit is their label, in [0, 1]."""
    return float((_logits(model, examples, device, batch).argmax(axis=1) == examples.labels).mean())
