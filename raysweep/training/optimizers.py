"""SGD and Adam with torch's fused functions. Results equal those of ``torch.optim``'s classes.

The classes of ``torch.optim`` import torch's compiler at their first step. Nothing here uses it,
and it takes 150 MiB in every worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

Update = Callable[[Sequence[int], list[Tensor], list[Tensor]], None]
"""Takes the positions of parameters, the parameters and their gradients, and changes these."""


class Optimizer:
    """Updates parameters by their gradients; skips parameters without a gradient."""

    def __init__(self, parameters: Sequence[nn.Parameter], update: Update) -> None:
        self._parameters, self._update = parameters, update

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient ``p.grad``."""
        pairs = [(i, p, p.grad) for i, p in enumerate(self._parameters) if p.grad is not None]
        if pairs:
            rows, parameters, gradients = (list(part) for part in zip(*pairs, strict=True))
            self._update(rows, parameters, gradients)


def make_sgd(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return ``torch.optim.SGD``; ``weight_decay`` times the parameters is added to gradients."""
    changed = list(parameters)
    # With a buffer of zeros the first step is the gradient alone, as in torch.
    buffers = [torch.zeros_like(p) if momentum else None for p in changed]

    def update(rows: Sequence[int], some: list[Tensor], gradients: list[Tensor]) -> None:
        sgd(
            some,
            gradients,
            [buffers[i] for i in rows],
            fused=True,
            has_sparse_grad=False,
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )

    return Optimizer(changed, update)


def make_adam(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> Optimizer:
    """Return ``torch.optim.Adam`` with its usual betas (0.9, 0.999) and eps (1e-8)."""
    changed = list(parameters)
    # Means, squares and, for amsgrad, the highest squares: one of each for every parameter.
    moments = [[torch.zeros_like(p) for p in changed] for _ in range(3 if amsgrad else 2)]
    steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in changed]

    def update(rows: Sequence[int], some: list[Tensor], gradients: list[Tensor]) -> None:
        means, squares, *highest = ([moment[i] for i in rows] for moment in moments)
        adam(
            some,
            gradients,
            means,
            squares,
            highest[0] if highest else [],
            [steps[i] for i in rows],
            fused=True,
            lr=learning_rate,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            maximize=False,
        )

    return Optimizer(changed, update)
