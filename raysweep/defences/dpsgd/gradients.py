"""The gradients of DP-SGD: Poisson-sampled batches, clipped sums, Gaussian noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil

import torch
from torch import Tensor, nn

from raysweep.defences.dpsgd.alone import VmapClipping
from raysweep.defences.dpsgd.choice import clipping
from raysweep.defences.dpsgd.clipping import Clipping
from raysweep.defences.dpsgd.layer_rules import GROUPED
from raysweep.defences.dpsgd.mixing import (
    copy_of_tensors,
    refuse_changed_tensors,
    refuse_mixing,
)
from raysweep.defences.dpsgd.unsafe_layers import refuse_unsafe_layers
from raysweep.errors import PrivacyError
from raysweep.models.structure import is_known
from raysweep.training.entropy import system_normal, system_uniform
from raysweep.training.recipe import PrivacySpent

PHYSICAL_BUDGET = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Bytes that the examples of a physical batch may take.

On a CPU this is about the size of a cache. A larger batch is no faster, and batches of equal size
keep a worker's memory from fragmenting.
"""


class PrivateGradients:
    """The Poisson-subsampled Gaussian mechanism (Abadi et al. 2016) for one training.

    In each step every example takes part independently with probability ``sample_rate``. Each
    example's gradient is clipped to an L2 norm of ``max_grad_norm``. Gaussian noise of standard
    deviation ``noise_multiplier`` * ``max_grad_norm`` is added to the sum of the clipped gradients.
    The result is divided by ``divisor``, the expected batch size. The noise is not
    calibrated for the size of the drawn batch. An empty batch is a step of noise only.
    """

    def __init__(
        self,
        n: int,
        *,
        sample_rate: float,
        divisor: float,
        noise_multiplier: float,
        max_grad_norm: float,
        account: Callable[[int, str], PrivacySpent],
        precision: str = "fp32",
    ) -> None:
        self._n = n
        self._sample_rate, self._divisor = sample_rate, divisor
        self._noise = noise_multiplier * max_grad_norm
        self._max_grad_norm = max_grad_norm
        self._account = account
        self._precision = precision
        self._steps = 0
        self._from_system = False

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the ceil(1 / sample_rate) Poisson batches of an epoch; a batch may be empty."""
        for is_in in self._draws([generator]):
            yield is_in[0].nonzero().flatten()

    def packed_batches(
        self, generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of K models, padded to one length, and which indices are real."""
        for is_in in self._draws(generators):
            counts = is_in.sum(1)
            is_real = torch.arange(int(counts.max())) < counts[:, None]
            rows = torch.zeros(is_real.shape, dtype=torch.int64)
            yield rows.masked_scatter_(is_real, is_in.nonzero()[:, 1]), is_real

    def _draws(self, generators: Sequence[torch.Generator]) -> Iterator[Tensor]:
        """Yield for each step of an epoch which examples are in the batches of K models, (K, n)."""
        # One buffer for all: the batches that are kept would fragment the heap between new ones.
        drawn = torch.empty(len(generators), self._n, dtype=torch.float64)
        is_in = torch.empty(drawn.shape, dtype=torch.bool)
        rows = drawn.unbind()
        for _ in range(ceil(1 / self._sample_rate - 1e-9)):
            for row, generator in zip(rows, generators, strict=True):
                if self._from_system:
                    row.copy_(system_uniform(self._n))
                else:
                    row.uniform_(generator=generator)
            yield torch.lt(drawn, self._sample_rate, out=is_in)

    def check(self, model: nn.Module, examples: Tensor) -> None:
        """Raise :class:`PrivacyError` for a model that would break the guarantee."""
        refuse_unsafe_layers(model)
        if not is_known(model):
            refuse_mixing(model, examples)

    def attach(
        self, model: nn.Module, examples: Tensor, *, seeds: Sequence[int]
    ) -> Callable[..., Tensor]:
        """Choose the clipping of ``model`` and return what computes logits in training.

        ``seeds`` seed the noise, one for each packed model.
        """
        self._model = model
        self._before = copy_of_tensors(model, trained=False)
        self._clipping: Clipping = clipping(model, examples, self._max_grad_norm)
        if self._precision != "fp32" and self._clipping.name == VmapClipping.name:
            raise PrivacyError(
                f"DP-SGD: training.precision {self._precision} is for models of known layers in "
                "nn.Sequential, and this one's gradients are taken by vmap",
                remedy="set training.precision to fp32",
            )

        budget = PHYSICAL_BUDGET.get(examples.device.type, PHYSICAL_BUDGET["cuda"])
        self._physical = _physical_batch(budget // self._clipping.bytes_per_example)
        device = examples.device
        self._generators = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]
        return self._clipping.forward

    def clip_by(self, way: Clipping) -> None:
        """Clip by ``way`` in place of what :meth:`attach` chose, as the self-test does."""
        self._clipping.release()
        self._clipping = way

    def divide(self, parts: int) -> None:
        """Make physical batches ``parts`` times smaller, to save memory."""
        expected = ceil(self._n * self._sample_rate / parts)
        self._physical = max(1, min(self._physical // parts, expected))

    def draw_from_system(self) -> None:
        """Draw noise and batches from the operating system, so that nothing can repeat them."""
        self._from_system = True

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Set each ``p.grad`` to (clipped sum + noise) / divisor; return the losses."""
        axis = 1 if self._is_packed else 0  # of the examples
        parts = x.split(self._physical, axis) if x.shape[axis] > 0 else ()  # empty: noise alone
        losses = [self._clipping.add(loss, part) for part in parts]
        for parameter, clipped_sum in self._clipping.take():
            mean = self._noise_like(parameter).add_(clipped_sum).div_(self._divisor)
            if mean.stride() != parameter.stride():
                mean = torch.empty_like(parameter).copy_(mean)
            parameter.grad = mean
        self._steps += 1
        return torch.cat(losses, axis) if losses else x.new_empty(0)

    def _noise_like(self, parameter: Tensor) -> Tensor:
        """Return noise in the shape of ``parameter``; packed models draw from their own seeds."""
        shape = parameter.shape[1:] if self._is_packed else parameter.shape
        device, dtype, noise = parameter.device, parameter.dtype, self._noise
        if self._from_system:
            return system_normal(noise, parameter.shape, device=device, dtype=dtype)
        draws = torch.empty(len(self._generators), *shape, device=device, dtype=dtype)
        for draw, generator in zip(draws.unbind(), self._generators, strict=True):
            draw.normal_(0.0, noise, generator=generator)
        return draws if self._is_packed else draws[0]

    @property
    def _is_packed(self) -> bool:
        """Whether the model is several at once, with inputs (K, n, *shape)."""
        return len(self._generators) > 1

    def privacy_spent(self) -> PrivacySpent:
        """Return the privacy spent by the steps taken so far."""
        spent = self._account(self._steps, self._clipping.name)
        return replace(spent, is_repeatable=not self._from_system)

    def release(self) -> None:
        """Remove the hooks from the model.

        Raises:
            PrivacyError: a buffer or a frozen parameter changed in training, so statistics were
                released without noise.

        """
        self._clipping.release()
        refuse_changed_tensors(self._model, self._before)


def _physical_batch(n: int) -> int:
    """Return the largest multiple of GROUPED that is at most ``n``, or ``n`` below GROUPED."""
    if n <= GROUPED:
        return max(1, n)
    return n // GROUPED * GROUPED
