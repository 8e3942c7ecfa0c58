"""The Gaussian mechanism: clipped sums on Poisson batches, noise, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil

import torch
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from raysweep.defences.dpsgd.clipping import OpacusClipping, clipping
from raysweep.defences.dpsgd.rules import GROUPED
from raysweep.errors import PrivacyError
from raysweep.training.recipe import PrivacySpent

PHYSICAL_BUDGET = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Bytes that the examples of a physical batch take at once. On a CPU as much as its cache holds: a
larger part is no faster, and parts of one size keep a worker's memory from falling into pieces."""


class PrivateGradients:
    """DP-SGD's gradients (Abadi et al. 2016) for one training.

    Every example enters a step independently with probability ``sample_rate``; the clipped sum
    plus noise is divided by the expected batch size n * ``sample_rate``, never by the drawn one;
    an empty batch is a step of noise alone.
    """

    def __init__(
        self,
        n: int,
        *,
        sample_rate: float,
        noise_multiplier: float,
        max_grad_norm: float,
        account: Callable[[int, str], PrivacySpent],
        precision: str = "fp32",
    ) -> None:
        self._n = n
        self._sample_rate = sample_rate
        self._noise = noise_multiplier * max_grad_norm
        self._max_grad_norm = max_grad_norm
        self._account = account
        self._precision = precision
        self._steps = 0

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield one epoch of Poisson batches: ceil(1 / sample_rate) of them, some perhaps empty."""
        for _ in range(ceil(1 / self._sample_rate - 1e-9)):
            drawn = torch.rand(self._n, generator=generator, dtype=torch.float64)
            yield (drawn < self._sample_rate).nonzero().flatten()

    def check(self, model: nn.Module, example: Tensor) -> None:
        """Refuse a model that would break the guarantee."""
        refuse_unsafe_layers(model)
        refuse_mixing(model, example)

    def hold(self, model: nn.Module, example: Tensor, *, seeds: Sequence[int]) -> None:
        """Choose how to clip this model; draw its noise, or each packed model's, by its seed."""
        self._model = model
        self._buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self._clipping = clipping(model, example, self._max_grad_norm)
        if self._precision != "fp32" and self._clipping.name == OpacusClipping.name:
            told = f"in {self._precision}, Opacus' norms are not shown to bound what is summed"
            remedy = "set training.precision to fp32, or use layers with a fast rule"
            raise PrivacyError(f"DP-SGD: {told}; {remedy}")
        budget = PHYSICAL_BUDGET.get(example.device.type, PHYSICAL_BUDGET["cuda"])
        self._physical = _physical(budget // self._clipping.bytes_per_example)
        device = example.device
        self._generators = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]

    def divide(self, parts: int) -> None:
        """Hold ``parts`` times fewer per-example gradients in memory at once."""
        expected = ceil(self._n * self._sample_rate / parts)
        self._physical = max(1, min(self._physical // parts, expected))

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Leave (clipped sum + noise) / expected batch size in every ``p.grad``."""
        losses = [self._clipping.add(loss, part) for part in x.split(self._physical)]
        for parameter, clipped_sum in self._clipping.take():
            mean = (clipped_sum + self._noise_like(parameter)) / (self._n * self._sample_rate)
            parameter.grad = torch.empty_like(parameter).copy_(mean)  # in the parameter's layout
        self._steps += 1
        return torch.cat(losses)

    def _noise_like(self, parameter: Tensor) -> Tensor:
        packed = len(self._generators) > 1
        shape = parameter.shape[1:] if packed else parameter.shape
        device, dtype, noise = parameter.device, parameter.dtype, self._noise
        draws = [
            torch.normal(0.0, noise, shape, generator=generator, device=device, dtype=dtype)
            for generator in self._generators
        ]
        return torch.stack(draws) if packed else draws[0]

    def spent(self) -> PrivacySpent:
        """Return the privacy spent by the steps that were really taken."""
        return self._account(self._steps, self._clipping.name)

    def release(self) -> None:
        """Let go of the model; fail when it kept statistics of its examples."""
        self._clipping.release()
        for name, buffer in self._model.named_buffers():
            if not torch.equal(buffer, self._buffers[name]):
                told = f"buffer {name!r} changed while training: it carries data past the noise"
                raise PrivacyError(f"{told}; use layers that keep no statistics, such as GroupNorm")


def _physical(n: int) -> int:
    """Return a physical batch of at most ``n`` examples: a multiple of GROUPED where there is."""
    return max(1, n // GROUPED * GROUPED if n > GROUPED else n)


def refuse_mixing(model: nn.Module, example: Tensor) -> None:
    """Raise :class:`PrivacyError` when an example's logits depend on the others of its batch."""
    batch = torch.cat([example, example.flip(-1), torch.zeros_like(example)])
    was_training = model.training
    for training in (False, True):
        model.train(training)
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()  # chance would tell the two apart
        with torch.no_grad():
            alone, among = model(example), model(batch)[:1]
        if not torch.allclose(alone, among, rtol=1e-3, atol=1e-4):
            told = "an example's logits depend on the other examples of its batch"
            raise PrivacyError(f"DP-SGD: {told}; the model must treat every example by itself")
    model.train(was_training)


def refuse_unsafe_layers(model: nn.Module) -> None:
    """Raise :class:`PrivacyError` that names the layer which mixes or remembers examples."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            kind = type(module).__name__
            remedy = f"use nn.GroupNorm(num_groups, {module.num_features}) in its place"
            told = f"layer {name!r} is {kind}, which mixes the examples of a batch"
            raise PrivacyError(f"DP-SGD: {told}; {remedy}")
    errors = ModuleValidator.validate(model, strict=False)
    if errors:
        raise PrivacyError(f"DP-SGD: Opacus refuses the model: {errors[0]}")
