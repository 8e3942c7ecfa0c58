"""The recipe: everything about how a target comes to be; a defence turns one into another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysweep.config import Training

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


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return each example's cross-entropy, (n,), with its label or with probabilities."""
    return F.cross_entropy(logits, targets, reduction="none")


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
