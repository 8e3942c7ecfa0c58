"""The recipe: how a target is built and trained. A defence turns one recipe into another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysweep.config import Training
from raysweep.errors import PrivacyError

HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"

MANY, SHORT = 512, 5  # rows and classes from which another way to cross-entropies pays

VECTOR = 16  # numbers of float32 in a vector of AVX-512

EVALUATION_BATCH = 256
"""Examples that an evaluation holds in memory at once, by default."""


@dataclass(frozen=True, kw_only=True)
class PrivacySpent:
    """The privacy that a training has spent so far.

    It holds for the released weights only. ``neighbours`` names the data sets that it compares, see
    NEIGHBOURS in :mod:`raysweep.records.guarantee`. ``is_repeatable`` says whether noise and
    batches came from a seed: then it holds only against those who do not know the seed. ``choice``
    says of what trainings these weights are the best, where the epsilon is that of the choice.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    sample_rate: float
    steps: int
    accountant: str
    accountant_settings: str
    clipping: str
    neighbours: str = "zero_out"
    is_repeatable: bool = True
    choice: str | None = None


class Mechanism(Protocol):
    """Computes the gradients of a training, with or without DP-SGD. One instance per training."""

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the example indices of each step of one epoch."""

    def packed_batches(
        self, generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each step's indices of K models and whether each is real, (K, n) and (K, n).

        The real ones come first, and are those of :meth:`batches`.
        """

    def check(self, model: nn.Module, examples: Tensor) -> None:
        """Raise an error if the mechanism cannot train this model on inputs like ``examples``."""

    def attach(
        self, model: nn.Module, examples: Tensor, *, seeds: Sequence[int]
    ) -> Callable[..., Tensor]:
        """Prepare the model before its first step, and return what maps inputs to logits in it.

        ``seeds`` seed the noise: one, or K for a packed model of K models.
        """

    def divide(self, parts: int) -> None:
        """Hold ``parts`` times fewer examples in memory at once. Call it after :meth:`attach`."""

    def draw_from_system(self) -> None:
        """Draw noise and batches from the operating system, not by seeds, or raise PrivacyError."""

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Write the step's gradient to every ``p.grad``; return the examples' losses, (n,).

        ``loss`` maps inputs to their losses. It is called on consecutive parts of ``x``, from the
        first example to the last, each exactly once: the caller needs this order to find the
        labels of a part. With K packed models losses are (K, n), and each model has its own
        gradient.
        """

    def privacy_spent(self) -> PrivacySpent | None:
        """Return the privacy spent by the steps so far; None without a guarantee."""

    def release(self) -> None:
        """Remove everything that :meth:`attach` added to the model, after the last step."""


class Companion(Protocol):
    """An inner adversary, trained alongside the model, that adds to the model's loss.

    One instance per training.
    """

    def update(self, model: nn.Module) -> None:
        """Train the companion, before a step of the model."""

    def penalty(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the term to add to each example's loss, (n,)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a target is built and trained. A part that is None is left out.

    - ``build_model(shape, n_classes)`` returns a module that computes logits.
    - ``mechanism(n)`` returns the object that computes the gradients.
    - ``loss(logits, targets)`` returns losses (n,); targets are labels (n,) or probabilities
      (n, classes).
    - ``relabel(members, seed=, device=)`` returns the probabilities that replace the labels.
    - ``augment`` changes each batch of inputs (n, *shape) in [0, 1].
    - ``companion(members, seed=, device=)`` returns an inner adversary.
    - ``penalty(model)`` is added to the loss outside clipping and noise: it depends on no example.
    - ``memory_parts`` divides the number of examples that are in memory at once. The gradient of
      a step stays that of the whole batch.
    """

    build_model: Callable[..., nn.Module]
    training: Training
    mechanism: Callable[[int], Mechanism]
    loss: Callable[[Tensor, Tensor], Tensor]
    relabel: Callable[..., Tensor] | None = None
    augment: Callable[[Tensor], Tensor] | None = None
    companion: Callable[..., Companion] | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    memory_parts: int = 1

    @property
    def evaluation_batch(self) -> int:
        """The number of examples that an evaluation holds in memory at once."""
        return max(1, EVALUATION_BATCH // self.memory_parts)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return each example's cross-entropy with its label or its probabilities, (n,)."""
    n, n_classes = logits.shape
    is_slow = HAS_AVX512 and n >= MANY and SHORT <= n_classes < VECTOR
    if not is_slow or targets.dim() > 1 or logits.device.type != "cpu":
        return F.cross_entropy(logits, targets, reduction="none")
    # Of rows shorter than a vector torch takes 3 times as long with AVX-512.
    shifted = logits - logits.detach().amax(dim=1, keepdim=True)
    return shifted.exp().sum(dim=1).log() - shifted.gather(1, targets[:, None]).squeeze(1)


class PlainGradients:
    """Shuffled batches and the gradient of their mean loss, without a privacy guarantee."""

    def __init__(self, n: int, batch_size: int) -> None:
        self._n, self._batch_size = n, batch_size
        self._physical_batch_size: int | None = None

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the batches of one epoch: each example once, in random order."""
        yield from torch.randperm(self._n, generator=generator).split(self._batch_size)

    def packed_batches(
        self, generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of K models, (K, n), all of whose indices are real."""
        for parts in zip(*map(self.batches, generators), strict=True):
            rows = torch.stack(parts)
            yield rows, torch.ones_like(rows, dtype=torch.bool)

    def check(self, model: nn.Module, examples: Tensor) -> None:
        """Accept every model."""

    def attach(
        self, model: nn.Module, examples: Tensor, *, seeds: Sequence[int]
    ) -> Callable[..., Tensor]:
        """Return the model: there is no noise to seed, and no hook to add."""
        return model

    def divide(self, parts: int) -> None:
        """Hold ``parts`` times fewer examples in memory at once."""
        self._physical_batch_size = ceil(self._batch_size / parts)

    def draw_from_system(self) -> None:
        """Raise PrivacyError: there is no noise to draw."""
        raise PrivacyError(
            "noise from the operating system is that of DP-SGD, and this configuration has none",
            remedy="give defences.target_epsilon a finite value, or ask for no secure noise",
        )

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Write the gradient of the mean loss to every ``p.grad``."""
        if self._physical_batch_size is None:
            losses = loss(x)
            losses.backward(torch.full_like(losses, 1 / max(1, losses.shape[-1])))
            return losses.detach()

        all_losses = []
        for part in x.split(self._physical_batch_size):
            losses = loss(part)
            losses.backward(torch.full_like(losses, 1 / max(1, len(x))))
            all_losses.append(losses)
        return torch.cat(all_losses).detach()

    def privacy_spent(self) -> None:
        """Return None: there is no guarantee."""
        return

    def release(self) -> None:
        """Do nothing: the model was not changed."""


def plain_recipe(build_model: Callable[..., nn.Module], training: Training) -> Recipe:
    """Return the undefended recipe."""
    return Recipe(
        build_model=build_model,
        training=training,
        mechanism=lambda n: PlainGradients(n, training.batch_size),
        loss=cross_entropy,
    )
