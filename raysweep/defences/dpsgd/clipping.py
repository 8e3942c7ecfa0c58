"""The sum of clipped per-example gradients, by a rule for each layer.

``LayerwiseClipping`` computes norms and sums mostly without storing per-example gradients. It is
for models of known layers, which treat every example by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from raysweep.config.plain_text import counted
from raysweep.defences.dpsgd.layer_rules import Rule
from raysweep.errors import PrivacyError

Loss = Callable[[Tensor], Tensor]

STABILITY = 1e-6  # as in Opacus: the clipping factor is min(1, C / (norm + 1e-6))


class Clipping(Protocol):
    """Sums clipped per-example gradients over the physical batches of a step."""

    name: str
    bytes_per_example: int

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the examples ``x``; the loss in :meth:`add` calls it once."""

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""

    def release(self) -> None:
        """Remove the hooks from the model."""


def factors(squares: Tensor, max_grad_norm: float) -> Tensor:
    """Return what scales each gradient of squared norm ``squares`` (n,) to ``max_grad_norm``."""
    return (max_grad_norm / (squares.sqrt() + STABILITY)).clamp(max=1.0)


class LayerwiseClipping:
    """Clipping by a rule for each layer, from its input and the gradient of its output.

    Every layer with parameters is in ``rules``. ``copies`` keeps copies of inputs and outputs, for
    models that overwrite them.
    """

    name = "layerwise"

    def __init__(
        self,
        model: nn.Module,
        rules: dict[nn.Module, type[Rule]],
        max_grad_norm: float,
        bytes_per_example: int,
        *,
        copies: bool,
    ) -> None:
        self.forward: Callable[..., Tensor] = model
        self._rules, self._max_grad_norm, self._copies = rules, max_grad_norm, copies
        self.bytes_per_example = bytes_per_example
        self._recorded: list[tuple[nn.Module, Tensor, Tensor]] = []
        self._sums: dict[Tensor, Tensor] = {}
        self._hooks = [layer.register_forward_hook(self._record) for layer in rules]

    def _record(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not torch.is_grad_enabled():
            return None

        layer_input = inputs[0].detach()
        if not self._copies:
            self._recorded.append((layer, layer_input, output))
            return None
        self._recorded.append((layer, layer_input.clone(), output))
        return output.clone()

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""
        self._recorded = []
        losses = loss(x)
        if len(self._recorded) != len(self._rules):
            raise PrivacyError(
                f"DP-SGD: the model has {counted(len(self._rules), 'layer')} with parameters, and "
                f"training makes {counted(len(self._recorded), 'call')} of them",
                remedy="call each once, as in evaluation",
            )

        outputs = [output for _, _, output in self._recorded]
        gradients = torch.autograd.grad(losses.sum(), outputs)
        with torch.no_grad():
            self._add_clipped(gradients)

        self._recorded = []
        return losses.detach()

    def _add_clipped(self, gradients: tuple[Tensor, ...]) -> None:
        """Add the clipped gradients, given the gradients of the layers' outputs."""
        rules = [
            self._rules[layer](layer, at_least_float32(a), at_least_float32(g))
            for (layer, a, _), g in zip(self._recorded, gradients, strict=True)
        ]

        # An example's norm is over all layers, so all of its gradients are scaled by one factor.
        squares = torch.stack([rule.squares() for rule in rules]).sum(0)
        scale = factors(squares, self._max_grad_norm)

        for rule in rules:
            for parameter, total in rule.sums(scale):
                before = self._sums.get(parameter)
                self._sums[parameter] = total if before is None else before + total

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""
        sums, self._sums = self._sums, {}
        parameters = [p for layer in self._rules for p in layer.parameters(False)]
        return [(p, sums[p] if p in sums else torch.zeros_like(p)) for p in parameters]

    def release(self) -> None:
        """Remove the hooks from the model."""
        for hook in self._hooks:
            hook.remove()


def at_least_float32(x: Tensor) -> Tensor:
    """Return bfloat16 as float32, in which the norms bound the sums that are clipped by them."""
    return x.float() if x.dtype == torch.bfloat16 else x
