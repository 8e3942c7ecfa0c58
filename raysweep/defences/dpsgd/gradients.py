"""Clipped, noised gradients through Opacus' own hooks and optimizer, on Poisson batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from math import ceil

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from raysweep.errors import PrivacyError
from raysweep.train import PrivacySpent

PHYSICAL_BUDGET = 128 * 2**20  # bytes of per-example gradients held at once


class PrivateGradients:
    """The Gaussian mechanism of DP-SGD (Abadi et al. 2016) for one training.

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
        account: Callable[[int], PrivacySpent],
    ) -> None:
        self._n = n
        self._sample_rate = sample_rate
        self._noise_multiplier = noise_multiplier
        self._max_grad_norm = max_grad_norm
        self._account = account
        self._steps = 0

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield one epoch of Poisson batches: ceil(1 / sample_rate) of them, some perhaps empty."""
        for _ in range(ceil(1 / self._sample_rate - 1e-9)):
            drawn = torch.rand(self._n, generator=generator, dtype=torch.float64)
            yield (drawn < self._sample_rate).nonzero().flatten()

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, seed: int) -> None:
        """Hook the model and wrap the optimizer; refuse what would break the guarantee."""
        refuse_unsafe_layers(model)
        device = next(model.parameters()).device
        self._model = model
        self._buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self._hooked = GradSampleModule(model, loss_reduction="sum")
        self._optimizer = DPOptimizer(
            optimizer,
            noise_multiplier=self._noise_multiplier,
            max_grad_norm=self._max_grad_norm,
            expected_batch_size=self._n * self._sample_rate,
            loss_reduction="mean",
            generator=torch.Generator(device=device).manual_seed(seed),
        )
        n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._physical = max(1, PHYSICAL_BUDGET // (4 * n_parameters))

    def gradients(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Leave (clipped sum + noise) / expected batch size in every ``p.grad``."""
        self._optimizer.zero_grad()
        losses = []
        for part in x.split(self._physical):
            values = loss(part)
            with warnings.catch_warnings():  # images need no gradient, and torch remarks on it
                warnings.filterwarnings("ignore", message="Full backward hook is firing")
                values.sum().backward()  # type: ignore[no-untyped-call]
            self._optimizer.clip_and_accumulate()
            for parameter in self._optimizer.params:
                parameter.grad_sample = None
            losses.append(values.detach())
        self._optimizer.add_noise()
        for parameter in self._optimizer.params:
            parameter.grad /= self._optimizer.expected_batch_size
        self._steps += 1
        return torch.cat(losses)

    def spent(self) -> PrivacySpent:
        """Return the privacy spent by the steps that were really taken."""
        return self._account(self._steps)

    def release(self) -> None:
        """Take the hooks off; fail when the model kept statistics of its examples."""
        self._hooked.to_standard_module()
        for name, buffer in self._model.named_buffers():
            if not torch.equal(buffer, self._buffers[name]):
                told = f"buffer {name!r} changed while training: it carries data past the noise"
                raise PrivacyError(f"{told}; use layers that keep no statistics, such as GroupNorm")


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
