"""The sum of clipped per-example gradients, two ways that agree to rounding.

``LayerwiseClipping`` knows the layers that have a rule and writes out no more than it must;
``OpacusClipping`` is Opacus' own, for models with any other layer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from raysweep.defences.dpsgd.rules import Rule, rule_of
from raysweep.errors import PrivacyError

Loss = Callable[[Tensor], Tensor]

NUDGE = 1e-6  # as in Opacus: the factor is C / (norm + 1e-6), at most 1


class Clipping(Protocol):
    """Adds up clipped gradients over the parts of a batch."""

    name: str
    bytes_per_example: int

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and start again from zero."""

    def release(self) -> None:
        """Let go of the model."""


def clipping(model: nn.Module, example: Tensor, max_grad_norm: float) -> Clipping:
    """Return the faster way that fits ``model``, tried on ``example`` (n, *shape)."""
    probe = _Probe(model)
    probe.run(example)
    if not probe.has_rules:
        return OpacusClipping(model, max_grad_norm)
    return LayerwiseClipping(
        probe.rules, max_grad_norm, probe.bytes_per_example, copies=probe.works_in_place
    )


class _Probe:
    """Watches one evaluation: whether each layer with parameters has a rule and is used once.

    ``works_in_place`` says that a later layer overwrites what one took or gave (ReLU(inplace)).
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.owners = [
            module
            for module in model.modules()
            if any(p.requires_grad for p in module.parameters(False))
        ]
        self._calls: list[nn.Module] = []
        self.rules: dict[nn.Module, type[Rule]] = {}
        self.bytes_per_example = 1
        self._tensors: list[tuple[Tensor, int]] = []

    def run(self, example: Tensor) -> None:
        """Evaluate ``example`` (n, *shape) once."""
        hooks = [layer.register_forward_hook(self._watch) for layer in self.owners]
        was_training = self._model.training
        with torch.no_grad():
            self._model.eval()(example)
        self._model.train(was_training)
        for hook in hooks:
            hook.remove()

    def _watch(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._calls.append(layer)
        rule = rule_of(layer, inputs[0])
        if rule is not None:
            self.rules[layer] = rule
            shapes = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
            held = 8 * sum(map(math.prod, shapes))  # what it took and gave, and their gradients
            self.bytes_per_example += held + rule.bytes_per_example(layer, *shapes)
        self._tensors += [(tensor, tensor._version) for tensor in (inputs[0], output)]

    @property
    def has_rules(self) -> bool:
        """Whether layer-by-layer clipping is right for this model."""
        parameters = [id(p) for layer in self.owners for p in layer.parameters(False)]
        once = sorted(map(id, self._calls)) == sorted(map(id, self.owners))
        all_known = self.rules.keys() == set(self.owners)
        return once and len(set(parameters)) == len(parameters) and all_known

    @property
    def works_in_place(self) -> bool:
        """Whether a tensor that a layer took or gave was overwritten afterwards."""
        return any(tensor._version != version for tensor, version in self._tensors)


class LayerwiseClipping:
    """Clips by each layer's rule: what a layer took, and the gradient of what it gave."""

    name = "layerwise"

    def __init__(
        self,
        rules: dict[nn.Module, type[Rule]],
        max_grad_norm: float,
        bytes_per_example: int,
        *,
        copies: bool,
    ) -> None:
        self._rules, self._max_grad_norm, self._copies = rules, max_grad_norm, copies
        self.bytes_per_example = bytes_per_example
        self._seen: list[tuple[nn.Module, Tensor, Tensor]] = []
        self._sums: dict[Tensor, Tensor] = {}
        self._hooks = [layer.register_forward_hook(self._keep) for layer in rules]

    def _keep(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not torch.is_grad_enabled():
            return None
        taken = inputs[0].detach()
        self._seen.append((layer, taken.clone() if self._copies else taken, output))
        return output.clone() if self._copies else None

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""
        self._seen = []
        losses = loss(x)
        if len(self._seen) != len(self._rules):
            told = f"{len(self._rules)} layers with parameters were called {len(self._seen)} times"
            raise PrivacyError(f"DP-SGD: in training, {told}; call each once, as in evaluation")
        if len(x) > 0:
            outputs = [output for _, _, output in self._seen]
            gradients = torch.autograd.grad(losses.sum(), outputs)
            with torch.no_grad():
                self._add(gradients)
        self._seen = []
        return losses.detach()

    def _add(self, gradients: tuple[Tensor, ...]) -> None:
        found = [
            self._rules[layer](layer, _at_least_float32(a), _at_least_float32(g))
            for (layer, a, _), g in zip(self._seen, gradients, strict=True)
        ]
        squares = torch.stack([rule.squares() for rule in found]).sum(0)
        factors = (self._max_grad_norm / (squares.sqrt() + NUDGE)).clamp(max=1.0)
        for rule in found:
            for parameter, total in rule.sums(factors):
                before = self._sums.get(parameter)
                self._sums[parameter] = total if before is None else before + total

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and start again from zero."""
        sums, self._sums = self._sums, {}
        parameters = [p for layer in self._rules for p in layer.parameters(False)]
        return [(p, sums[p] if p in sums else torch.zeros_like(p)) for p in parameters]

    def release(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()


def _at_least_float32(x: Tensor) -> Tensor:
    """Return ``x`` as numbers in which a norm and a sum of the same gradients agree."""
    return x.float() if x.dtype == torch.bfloat16 else x


class OpacusClipping:
    """Opacus' hooks and its optimizer's clipping."""

    name = "opacus"

    def __init__(self, model: nn.Module, max_grad_norm: float) -> None:
        self._hooked = GradSampleModule(model, loss_reduction="sum")
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = DPOptimizer(
            torch.optim.SGD(parameters, lr=0.0),
            noise_multiplier=0.0,
            max_grad_norm=max_grad_norm,
            expected_batch_size=1,
        )
        self.bytes_per_example = 4 * sum(math.prod(p.shape) for p in parameters)

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""
        losses = loss(x)
        with warnings.catch_warnings():  # images need no gradient, and torch remarks on it
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            losses.sum().backward()
        self._optimizer.clip_and_accumulate()
        for parameter in self._optimizer.params:
            parameter.grad_sample = None
        return losses.detach()

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and start again from zero."""
        sums = [(p, p.summed_grad.view_as(p)) for p in self._optimizer.params]
        for parameter in self._optimizer.params:
            parameter.summed_grad = None
        return sums

    def release(self) -> None:
        """Take the hooks off."""
        self._hooked.to_standard_module()
