"""The sum of clipped gradients of a user's model, which sees each example alone.

Nothing is known of the model. Each example is evaluated as a batch of one, so that no gradient
depends on another example, whatever the model computes: the bound on what an example adds holds by
construction.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.defences.dpsgd.clipping import Loss, at_least_float32, factors
from raysweep.defences.dpsgd.probe import Probed


class VmapClipping:
    """Clipping by ``torch.vmap``, which evaluates all examples in one go and each alone.

    Layers with a rule are clipped by it. Every other parameter is given to each example as a copy
    of its own, and has the gradient of each example.
    """

    name = "vmap"

    def __init__(self, model: nn.Module, probed: Probed, max_grad_norm: float) -> None:
        self._model, self._max_grad_norm = model, max_grad_norm
        self._rules, self._shapes = probed.rules, probed.shapes
        self._copies = probed.works_in_place
        self._layers = {name: model.get_submodule(name) for name in probed.rules}
        self._sums: dict[str, Tensor] = {}

        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        ruled = {id(p) for layer in self._layers.values() for p in layer.parameters(False)}
        self._own = {name: p for name, p in self._trained.items() if id(p) not in ruled}
        self._names = {id(p): name for name, p in self._trained.items()}
        self._places = [
            (module, key, self._names[id(p)])
            for module in model.modules()
            for key, p in module.named_parameters(recurse=False)
            if self._names.get(id(p)) in self._own
        ]
        self.bytes_per_example = probed.bytes_per_example + 8 * sum(
            math.prod(p.shape) for p in self._own.values()
        )

        self._shifts: dict[str, Tensor] | None = None  # not None while an example is evaluated
        self._inputs: dict[str, Tensor] = {}
        self._hooks = [
            layer.register_forward_hook(self._recorder(name))
            for name, layer in self._layers.items()
        ]

    def _recorder(self, name: str) -> Any:
        """Return a hook that keeps a layer's input and adds zeros, whose gradient is kept."""

        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if self._shifts is None:
                return None
            if name in self._inputs:
                raise RuntimeError(f"layer {name!r} is called more than once in training")
            self._inputs[name] = inputs[0].detach().clone() if self._copies else inputs[0].detach()
            return output + self._shifts[name].to(output.dtype)

        return hook

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the examples ``x``, each evaluated alone."""
        n = len(x)
        copies = {
            name: p.detach().expand(n, *p.shape).requires_grad_() for name, p in self._own.items()
        }
        zero = torch.zeros((), device=x.device)
        shifts = {
            name: zero.expand(n, 1, *shape).requires_grad_() for name, shape in self._shapes.items()
        }

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            evaluate = torch.vmap(self._one, randomness="different")
            logits, inputs = evaluate(copies, shifts, x)
        self._leaves, self._batch = (shifts, copies), inputs
        return logits

    def _one(
        self, copies: dict[str, Tensor], shifts: dict[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of one example and the inputs of the layers with rules."""
        self._shifts, self._inputs = shifts, {}
        try:
            for module, key, name in self._places:
                module._parameters[key] = copies[name]  # type: ignore[assignment]
            return self._model(x[None])[0], self._inputs
        finally:
            self._shifts, self._inputs = None, {}
            for module, key, name in self._places:
                module._parameters[key] = self._own[name]

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""
        losses = loss(x)
        shifts, copies = self._leaves
        leaves = [*shifts.values(), *copies.values()]
        found = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)

        with torch.no_grad():
            gradients = [
                torch.zeros_like(leaf) if g is None else at_least_float32(g)
                for g, leaf in zip(found, leaves, strict=True)
            ]
            outputs = dict(zip(shifts, gradients[: len(shifts)], strict=True))
            own = dict(zip(copies, gradients[len(shifts) :], strict=True))
            self._add_clipped(outputs, own)

        del self._leaves, self._batch
        return losses.detach()

    def _add_clipped(self, outputs: dict[str, Tensor], own: dict[str, Tensor]) -> None:
        """Add the clipped gradients, given those of the layers' outputs and of the copies."""
        rules = [
            rule(
                self._layers[name],
                at_least_float32(self._batch[name].flatten(0, 1)),
                outputs[name].flatten(0, 1),
            )
            for name, rule in self._rules.items()
            if name in self._batch
        ]
        own = {name: gradient.flatten(1) for name, gradient in own.items()}

        squares = [rule.squares() for rule in rules]
        squares += [torch.linalg.vector_norm(g, dim=1).square() for g in own.values()]
        scale = factors(torch.stack(squares).sum(0), self._max_grad_norm)

        for rule in rules:
            for parameter, total in rule.sums(scale):
                self._add(self._names[id(parameter)], total)
        for name, gradient in own.items():
            self._add(name, (scale.to(gradient.dtype) @ gradient).view(self._own[name].shape))

    def _add(self, name: str, total: Tensor) -> None:
        before = self._sums.get(name)
        self._sums[name] = total if before is None else before + total

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""
        sums, self._sums = self._sums, {}
        return [(p, sums.get(name, torch.zeros_like(p))) for name, p in self._trained.items()]

    def release(self) -> None:
        """Remove the hooks from the model."""
        for hook in self._hooks:
            hook.remove()


class LoopClipping:
    """Clipping of one example after the other, by autograd: slow, and right for every model."""

    name = "loop"

    def __init__(self, model: nn.Module, max_grad_norm: float) -> None:
        self._model, self._max_grad_norm = model, max_grad_norm
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.bytes_per_example = 64 * sum(math.prod(p.shape) for p in self._parameters)
        self._sums: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the examples ``x``, each evaluated alone."""
        self._outputs = [self._model(x[i : i + 1]) for i in range(len(x))]
        self._logits = torch.cat(self._outputs).detach().requires_grad_()
        return self._logits

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""
        losses = loss(x)
        (by_logits,) = torch.autograd.grad(losses.sum(), self._logits)
        outputs, self._outputs = self._outputs, []

        for i, output in enumerate(outputs):
            if output.requires_grad:
                # As grad_outputs, `by_logits` would make torch import sympy, which takes 1 s.
                weighted = (output * by_logits[i : i + 1]).sum()
                gradients = torch.autograd.grad(weighted, self._parameters, allow_unused=True)
                self._add_clipped(gradients)
        return losses.detach()

    def _add_clipped(self, found: tuple[Tensor | None, ...]) -> None:
        """Add the clipped gradient of one example."""
        gradients = [
            at_least_float32(torch.zeros_like(p) if g is None else g)
            for p, g in zip(self._parameters, found, strict=True)
        ]
        squares = [torch.linalg.vector_norm(g).square() for g in gradients]
        scale = factors(torch.stack(squares).sum(0), self._max_grad_norm)

        clipped = [g * scale.to(g.dtype) for g in gradients]
        before = self._sums or [torch.zeros_like(g) for g in clipped]
        self._sums = [a + b for a, b in zip(before, clipped, strict=True)]

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""
        sums, self._sums = self._sums, None
        return [
            (p, torch.zeros_like(p) if sums is None else sums[i])
            for i, p in enumerate(self._parameters)
        ]

    def release(self) -> None:
        """Do nothing: the model was not changed."""
