"""Min-max training against an inference model (Nasr et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, Lt
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from raysweep.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from raysweep.data import Split, Splits
    from raysweep.training.recipe import Recipe


WARM_UP = 5
"""Epochs of the inference model directly after the target's first epoch, which is plain."""

INTERVAL = 2
"""Steps of the target between two updates of the inference model, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class AdversarialRegularisation:
    """``adversarial_regularisation``: the weight lambda of an inference model's gain.

    0 is plain training. The inference model h is trained to tell the members from
    ``reference_size`` records of the reference split (inf: all of them). The target's loss is
    cross-entropy + lambda (mean h - 1/2); its first epoch is plain. Before every second step of
    the target, h is trained on ``adversary_batches`` batches. The published 52 are a third of an
    epoch of 20,000 members. With 2,000 members the defence cost more accuracy than it gained
    privacy (docs/papers.md).
    """

    breaks_privacy: ClassVar[str | None] = (
        "its inference model is trained on the members without noise"
    )

    adversarial_regularisation: Annotated[
        float, Ge(0), Lt(inf), Field(description="weight of an inference model's gain in the loss")
    ] = 0.0
    reference_size: Annotated[
        float, Ge(1), Field(description="reference records that the inference model gets; inf: all")
    ] = inf

    adversary_batches: Annotated[
        int, Ge(1), Field(description="batches of the inference model for two steps of the target")
    ] = 52

    @field_validator("reference_size")
    @classmethod
    def _whole(cls, size: float) -> float:
        if size < inf and size != int(size):
            raise ValueError(f"`reference_size` must be a whole number of records, got {size}")
        return size

    @property
    def is_neutral(self) -> bool:
        """Whether training is plain."""
        return self.adversarial_regularisation == 0

    def apply(self, recipe: Recipe, reference: Split) -> Recipe:
        """Return the recipe with an inner adversary.

        Raises:
            DataError: the reference split holds too few records.

        """
        self._check_size(len(reference))

        def companion(members: Split, *, seed: int, device: Any) -> InnerAdversary:
            return InnerAdversary(
                self.adversarial_regularisation,
                members,
                self._draw(reference, seed),
                recipe.training.batch_size,
                self.adversary_batches,
                seed=seed,
                device=device,
            )

        return replace(recipe, companion=companion)

    def check(self, splits: Splits) -> None:
        """Raise :class:`DataError` when the reference split holds too few records."""
        if not self.is_neutral:
            self._check_size(len(splits.reference))

    def _check_size(self, n: int) -> None:
        if n == 0:
            raise DataError(
                "`adversarial_regularisation` needs a reference set",
                remedy="give dataset.reference some records",
            )
        if n < self.reference_size < inf:
            raise DataError(
                f"`reference_size` must be at most the size of the reference split, {n:,}",
                got=int(self.reference_size),
                remedy="enlarge dataset.reference",
            )

    def _draw(self, reference: Split, seed: int) -> Split:
        """Return ``reference_size`` random records; a larger draw contains a smaller one."""
        import numpy as np

        from raysweep.config import sub_seed

        order = np.random.default_rng(sub_seed(seed, "reference")).permutation(len(reference))
        return reference.rows(order[: int(min(self.reference_size, len(reference)))])


class InnerAdversary:
    """The inference model of one training, updated between the target's steps.

    ``n_batches`` is the number of batches of one update.
    """

    def __init__(
        self,
        weight: float,
        members: Split,
        reference: Split,
        batch_size: int,
        n_batches: int,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        import torch

        from raysweep.config import sub_seed
        from raysweep.training.inference_model import InferenceNetwork, InferenceTraining
        from raysweep.training.loop import isolated_rng

        self._weight, self._batch_size, self._device = weight, batch_size, device
        self._n_batches = n_batches
        self._steps_per_epoch = ceil(len(members) / batch_size)
        self._steps = 0

        with isolated_rng(sub_seed(seed, "inference model"), device):
            self._training = InferenceTraining(InferenceNetwork(members.n_classes).to(device))
        self._training.model.requires_grad_(False)

        generator = torch.Generator().manual_seed(sub_seed(seed, "batches"))
        self._batches = [
            (split, *split.tensors(device), _shuffled_batches(len(split), batch_size, generator))
            for split in (members, reference)
        ]

    def update(self, model: nn.Module) -> None:
        """Train the inference model before a step of ``model``, every INTERVAL steps."""
        since_first_epoch = self._steps - self._steps_per_epoch
        self._steps += 1
        if since_first_epoch == 0:
            self._train(model, WARM_UP * self._steps_per_epoch)
        if since_first_epoch >= 0 and since_first_epoch % INTERVAL == 0:
            self._train(model, self._n_batches)

    def penalty(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return lambda (h - 1/2) of each member, (n,); 0 in the first epoch."""
        import torch

        if self._steps <= self._steps_per_epoch:
            return torch.zeros_like(logits[:, 0])
        return self._weight * (torch.sigmoid(self._training.model(logits, labels)) - 0.5)

    def _train(self, model: nn.Module, n_batches: int) -> None:
        """Train the inference model on ``n_batches`` batches of each side."""
        import torch

        from raysweep.training.recipe import EVALUATION_BATCH
        from raysweep.training.target import pixels

        model.eval()
        self._training.model.requires_grad_(True)

        # The target does not change in between, so several batches are evaluated together.
        together = max(1, EVALUATION_BATCH // self._batch_size)
        for first in range(0, n_batches, together):
            count = min(together, n_batches - first)
            sides = []
            for split, x, y, batches in self._batches:
                rows = torch.cat([next(batches) for _ in range(count)]).to(self._device)
                with torch.no_grad():
                    sides.append((model(pixels(x[rows], split)), y[rows]))

            for start in range(0, count * self._batch_size, self._batch_size):
                part = slice(start, start + self._batch_size)
                self._training.step(*((logits[part], y[part]) for logits, y in sides))

        self._training.model.requires_grad_(False)
        model.train()


def _shuffled_batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of exactly ``size`` indices below ``n``, without end; each pass is shuffled."""
    import torch

    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]
