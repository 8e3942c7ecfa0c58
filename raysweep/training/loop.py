"""The recipe and the one training loop. Read :func:`train` from top to bottom.

A recipe says everything about how a target comes to be; a defence turns one recipe into another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np
import torch
from torch import Tensor, nn

from raysweep.config import Training, sub_seed
from raysweep.data import Split
from raysweep.errors import TrainingDiverged
from raysweep.training import signals
from raysweep.training.devices import autocast, channels_last
from raysweep.training.optimizers import SGD, Adam, Optimizer
from raysweep.training.recipe import (
    EVALUATION_BATCH,
    Companion,
    PrivacySpent,
    Recipe,
)
from raysweep.training.target import TrainedTarget, _logits, pixels


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The state after an epoch: ``model`` in evaluation mode, ``loss`` the mean over batches."""

    number: int
    model: nn.Module
    loss: float
    train_accuracy: float | None
    privacy: PrivacySpent | None


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
