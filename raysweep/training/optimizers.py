"""SGD and Adam by torch's own functions, fused; ``torch.optim``'s classes step the same.

These classes import torch's compiler at their first step, which nothing here uses: 150 MiB
in every worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimizer(Protocol):
    """Moves parameters against their gradients; one without a gradient stays where it is."""

    def zero_grad(self) -> None:
        """Forget every gradient."""

    def step(self) -> None:
        """Take a step along the gradients in ``p.grad``."""


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
        # From zero the first step is the gradient alone, as torch's own begins.
        self._buffers = [torch.zeros_like(p) if momentum else None for p in self._parameters]

    def zero_grad(self) -> None:
        """Forget every gradient."""
        _forget(self._parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the gradients in ``p.grad``."""
        rows = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        if rows:
            own = _rows(self._parameters, rows)
            sgd(
                own,
                _gradients(own),
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
        self._means, self._squares, self._highest = (
            [torch.zeros_like(p) for p in self._parameters] if wanted else []
            for wanted in (True, True, amsgrad)
        )
        self._steps = [
            torch.zeros((), dtype=torch.float32, device=p.device) for p in self._parameters
        ]

    def zero_grad(self) -> None:
        """Forget every gradient."""
        _forget(self._parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the gradients in ``p.grad``."""
        rows = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        if rows:
            own = _rows(self._parameters, rows)
            states = (self._means, self._squares, self._highest, self._steps)
            means, squares, highest, steps = (_rows(state, rows) for state in states)
            adam(
                own,
                _gradients(own),
                means,
                squares,
                highest,
                steps,
                fused=True,
                lr=self._rate,
                weight_decay=self._decay,
                amsgrad=self._amsgrad,
                beta1=0.9,
                beta2=0.999,
                eps=1e-8,
                maximize=False,
            )


def _forget(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _rows(state: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
    return [state[i] for i in rows] if state else []


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
