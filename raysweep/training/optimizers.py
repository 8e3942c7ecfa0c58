"""SGD and Adam with torch's fused functions. Results equal those of ``torch.optim``'s classes.

The classes of ``torch.optim`` import torch's compiler at their first step. Nothing here uses it,
and it takes 150 MiB in every worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimizer(Protocol):
    """Updates parameters by their gradients; skips parameters without a gradient."""

    def zero_grad(self) -> None:
        """Set every gradient to None."""

    def step(self) -> None:
        """Update every parameter by its gradient ``p.grad``."""


class SGD:
    """``torch.optim.SGD``, with ``weight_decay`` times the parameters added to the gradients."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self._parameters = list(parameters)
        self._rate, self._momentum, self._decay = learning_rate, momentum, weight_decay
        # With a buffer of zeros the first step is the gradient alone, as in torch.
        self._buffers = [torch.zeros_like(p) if momentum else None for p in self._parameters]

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        _clear_gradients(self._parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient ``p.grad``."""
        rows = _rows_with_gradient(self._parameters)
        if not rows:
            return

        parameters = _select(self._parameters, rows)
        sgd(
            parameters,
            _gradients(parameters),
            [self._buffers[i] for i in rows],
            fused=True,
            has_sparse_grad=False,
            lr=self._rate,
            momentum=self._momentum,
            weight_decay=self._decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


class Adam:
    """``torch.optim.Adam`` with its usual betas (0.9, 0.999) and eps (1e-8)."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        *,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        self._parameters = list(parameters)
        self._rate, self._decay, self._amsgrad = learning_rate, weight_decay, amsgrad

        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._highest = [torch.zeros_like(p) for p in self._parameters] if amsgrad else []
        self._steps = [
            torch.zeros((), dtype=torch.float32, device=p.device) for p in self._parameters
        ]

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        _clear_gradients(self._parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient ``p.grad``."""
        rows = _rows_with_gradient(self._parameters)
        if not rows:
            return

        parameters = _select(self._parameters, rows)
        adam(
            parameters,
            _gradients(parameters),
            _select(self._means, rows),
            _select(self._squares, rows),
            _select(self._highest, rows),
            _select(self._steps, rows),
            fused=True,
            lr=self._rate,
            weight_decay=self._decay,
            amsgrad=self._amsgrad,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            maximize=False,
        )


def _clear_gradients(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _rows_with_gradient(parameters: Sequence[Tensor]) -> list[int]:
    return [i for i, parameter in enumerate(parameters) if parameter.grad is not None]


def _select(state: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
    """Return the entries of ``state`` at ``rows``; none if the optimizer does not keep it."""
    return [state[i] for i in rows] if state else []


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
