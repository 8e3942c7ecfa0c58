"""The training loop: :func:`train` trains a target by a recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from raysweep.config import Training, sub_seed
from raysweep.data import Split
from raysweep.errors import TrainingDiverged
from raysweep.training.devices import autocast, channels_last, copy_at_once, seed_generators
from raysweep.training.frozen import Read, split_frozen
from raysweep.training.optimizers import Optimizer, make_adam, make_sgd
from raysweep.training.recipe import EVALUATION_BATCH, Companion, PrivacySpent, Recipe
from raysweep.training.target import TrainedTarget, pixels

AT_ONCE = 2**22
"""Most features of all members that are held as floats; those of more are so in batches."""

LOWER = "lower the learning rate, or raise max_grad_norm with care"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The state after an epoch.

    ``model`` is in evaluation mode. ``loss`` is the mean over the examples of all batches, and
    ``train_accuracy`` the share of them that were classified right, in [0, 1]; it is None if
    every batch was empty.
    """

    number: int
    model: nn.Module
    loss: float
    train_accuracy: float | None
    privacy: PrivacySpent | None


def make_optimizer(training: Training, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return the optimizer that ``training`` names."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return make_sgd(parameters, rate, momentum=training.momentum, weight_decay=decay)
    return make_adam(parameters, rate, weight_decay=decay, amsgrad=training.optimizer == "amsgrad")


@contextlib.contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators inside the block, and restore their state after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seed_generators(seed, device)
        yield


def train(
    recipe: Recipe,
    members: Split,
    *,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[Epoch], bool] | None = None,
    secure_noise: bool = False,
) -> TrainedTarget:
    """Return a target trained on ``members`` by ``recipe``. On a CPU a seed fixes the target.

    ``on_epoch`` is called after every epoch. If it returns False, training stops. With
    ``secure_noise`` DP-SGD draws noise and batches from the operating system's entropy, which no
    seed can repeat; the initial weights and dropout still follow the seed.

    Raises:
        TrainingDiverged: the loss is not finite.
        PrivacyError: DP was asked for and cannot be guaranteed, or ``secure_noise`` without DP.

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
    examples = pixels(x[:EVALUATION_BATCH], members)
    channels_last(model, examples[:1])

    read = reader(x, members)
    mechanism = recipe.mechanism(len(members))
    if secure_noise:
        mechanism.draw_from_system()
    optimizer = make_optimizer(training, model.parameters())
    mechanism.check(model, examples)
    trained, inputs_of = _trained_part(recipe, model, read, len(members), device)
    if trained is not model:
        examples = inputs_of(torch.arange(min(EVALUATION_BATCH, len(members))))
    forward = mechanism.attach(trained, examples, seeds=[sub_seed(seed, "noise")])
    if recipe.memory_parts > 1:
        mechanism.divide(recipe.memory_parts)

    order = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    with isolated_rng(sub_seed(seed, "forward"), device):
        for number in range(1, training.epochs + 1):
            model.train()
            if trained is not model:
                trained.train()
            tally = _Tally()

            for rows in copy_at_once(mechanism.batches(order), device):
                inputs = inputs_of(rows)
                if recipe.augment is not None:
                    inputs = recipe.augment(inputs)
                if companion is not None:
                    companion.update(model)

                optimizer.zero_grad()
                labels = y[rows]
                of_loss = labels if targets is y else targets[rows]
                loss = tally.loss_function(forward, recipe, companion, labels, of_loss)
                batch_losses = mechanism.gradients(loss, inputs)
                if recipe.penalty is not None:
                    recipe.penalty(model).backward()
                optimizer.step()
                tally.add(batch_losses)

            epoch = tally.epoch(number, model.eval(), mechanism.privacy_spent())
            if on_epoch is not None and not on_epoch(epoch):
                break

    privacy = mechanism.privacy_spent()
    mechanism.release()
    return TrainedTarget(
        model=model.eval(),
        n_classes=members.n_classes,
        privacy=privacy,
        _members=members,
        device=device,
        evaluation_batch=recipe.evaluation_batch,
    )


def reader(x: Tensor, members: Split) -> Read:
    """Return what gives the pixels of rows of ``x``, the members' features on the device."""
    if x.numel() > AT_ONCE:
        return lambda rows: pixels(take(x, rows), members)
    all_pixels = pixels(x, members)
    return lambda rows: take(all_pixels, rows)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Return ``x[rows]`` for the numbers of rows in any shape, faster than by indexing."""
    taken = x.index_select(0, rows.flatten().to(x.device))
    return taken.view(*rows.shape, *x.shape[1:])


def _trained_part(
    recipe: Recipe, model: nn.Module, read: Read, n: int, device: torch.device
) -> tuple[nn.Module, Read]:
    """Return the model without its frozen part, and what gives the inputs of the rest.

    With augmentation the inputs change, so that nothing can be computed once.
    """
    if recipe.augment is not None:
        return model, read
    with isolated_rng(0, device):
        part = split_frozen(model, read, n, batch=recipe.evaluation_batch)
    if part is None:
        return model, read
    rest, features = part
    return rest, lambda rows: features[rows]


class _Tally:
    """The losses and the right predictions of an epoch, read once at its end.

    To read them after each step would make a GPU wait.
    """

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._is_right: list[Tensor] = []

    def loss_function(
        self,
        forward: Callable[[Tensor], Tensor],
        recipe: Recipe,
        companion: Companion | None,
        y: Tensor,
        targets: Tensor,
    ) -> Callable[[Tensor], Tensor]:
        """Return the loss function of one batch, which also notes the right predictions.

        It maps a part of the batch's inputs to losses, (n,). The parts must come in order, see
        :meth:`Mechanism.gradients`: the labels of a part are found by the examples before it.
        """
        start = 0

        def loss(x: Tensor) -> Tensor:
            nonlocal start
            part = slice(start, start + len(x))
            start += len(x)

            with autocast(x.device, recipe.training.precision):
                logits = forward(x)
            logits, labels = logits.to(x.dtype), y[part]
            self._is_right.append(logits.detach().argmax(dim=1) == labels)

            losses = recipe.loss(logits, targets[part])
            return losses if companion is None else losses + companion.penalty(logits, labels)

        return loss

    def add(self, losses: Tensor) -> None:
        """Note the losses of a batch, (n,)."""
        self._losses.append(losses)

    def epoch(self, number: int, model: nn.Module, privacy: PrivacySpent | None) -> Epoch:
        """Return the epoch with its mean loss and its share of right predictions.

        Raises:
            TrainingDiverged: a loss is not finite.

        """
        losses = torch.cat(self._losses)
        total = float(losses.sum(dtype=torch.float64))
        if not isfinite(total):
            self._refuse(number, total)

        n, is_right = len(losses), self._is_right
        return Epoch(
            number=number,
            model=model,
            loss=total / max(1, n),
            train_accuracy=float(torch.cat(is_right).double().mean()) if n else None,
            privacy=privacy,
        )

    def _refuse(self, number: int, total: float) -> None:
        """Raise :class:`TrainingDiverged`, and say how many losses of a batch are not finite."""
        rule, remedy = f"the loss of epoch {number} is {total}", LOWER
        unfit = (losses for losses in self._losses if not losses.isfinite().all())
        losses = next(unfit, self._losses[0])  # finite ones may have an infinite sum
        broken, n = int((~losses.isfinite()).sum()), len(losses)
        if 0 < broken < n:  # a step too large breaks all of a batch
            rule += f": in the first such batch it is no finite number for {broken:,} of {n:,}"
            rule += " members"
            remedy = f"change what the model computes for them, or leave them out; else {LOWER}"
        raise TrainingDiverged(rule, remedy=remedy)
