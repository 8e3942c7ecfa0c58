"""The sum of clipped per-example gradients, in two ways that agree up to rounding.

``LayerwiseClipping`` computes norms and sums by a rule for each layer, mostly without storing
per-example gradients. ``OpacusClipping`` uses Opacus, for models with a layer that has no rule.
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

from raysweep.defences.dpsgd.layer_rules import Rule, rule_of
from raysweep.errors import PrivacyError

Loss = Callable[[Tensor], Tensor]

STABILITY = 1e-6  # as in Opacus: the clipping factor is min(1, C / (norm + 1e-6))


class Clipping(Protocol):
    """Sums clipped per-example gradients over the physical batches of a step."""

    name: str
    bytes_per_example: int

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""

    def release(self) -> None:
        """Remove the hooks from the model."""


def clipping(model: nn.Module, example: Tensor, max_grad_norm: float) -> Clipping:
    """Return the layerwise clipping of ``model`` if each layer has a rule, else that of Opacus.

    ``example`` (n, *shape) is evaluated once to find the rules.
    """
    probe = _Probe(model)
    probe.run(example)
    if not probe.has_rules:
        return OpacusClipping(model, max_grad_norm)
    return LayerwiseClipping(
        probe.rules, max_grad_norm, probe.bytes_per_example, copies=probe.works_in_place
    )


class _Probe:
    """Runs a model once, to check that each layer has a rule and is called at most once."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.layers = [
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
        hooks = [layer.register_forward_hook(self._observe) for layer in self.layers]
        was_training = self._model.training
        with torch.no_grad():
            self._model.eval()(example)
        self._model.train(was_training)
        for hook in hooks:
            hook.remove()

    def _observe(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._calls.append(layer)
        rule = rule_of(layer, inputs[0])
        if rule is not None:
            self.rules[layer] = rule
            shapes = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
            activations = 8 * sum(map(math.prod, shapes))  # input, output and their gradients
            self.bytes_per_example += activations + rule.bytes_per_example(layer, *shapes)
        self._tensors += [(tensor, tensor._version) for tensor in (inputs[0], output)]

    @property
    def has_rules(self) -> bool:
        """Whether every layer has a rule, is called once, and shares no parameter."""
        parameters = [id(p) for layer in self.layers for p in layer.parameters(False)]
        called_once = sorted(map(id, self._calls)) == sorted(map(id, self.layers))
        not_shared = len(set(parameters)) == len(parameters)
        return called_once and not_shared and self.rules.keys() == set(self.layers)

    @property
    def works_in_place(self) -> bool:
        """Whether a later layer overwrote an input or output, as ReLU(inplace=True) does."""
        return any(tensor._version != version for tensor, version in self._tensors)


class LayerwiseClipping:
    """Clipping by a rule for each layer, from its input and the gradient of its output.

    ``copies`` keeps copies of inputs and outputs, for models that overwrite them.
    """

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
                f"DP-SGD: in training, {len(self._rules)} layers with parameters "
                f"were called {len(self._recorded)} times",
                remedy="call each once, as in evaluation",
            )

        if len(x) > 0:
            outputs = [output for _, _, output in self._recorded]
            gradients = torch.autograd.grad(losses.sum(), outputs)
            with torch.no_grad():
                self._add_clipped(gradients)

        self._recorded = []
        return losses.detach()

    def _add_clipped(self, gradients: tuple[Tensor, ...]) -> None:
        """Add the clipped gradients, given the gradients of the layers' outputs."""
        rules = [
            self._rules[layer](layer, _at_least_float32(a), _at_least_float32(g))
            for (layer, a, _), g in zip(self._recorded, gradients, strict=True)
        ]

        # An example's norm is over all layers, so all of its gradients are scaled by one factor.
        squares = torch.stack([rule.squares() for rule in rules]).sum(0)
        factors = (self._max_grad_norm / (squares.sqrt() + STABILITY)).clamp(max=1.0)

        for rule in rules:
            for parameter, total in rule.sums(factors):
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


def _at_least_float32(x: Tensor) -> Tensor:
    """Return bfloat16 as float32, in which the norms bound the sums that are clipped by them."""
    return x.float() if x.dtype == torch.bfloat16 else x


class OpacusClipping:
    """Clipping by Opacus: GradSampleModule and DPOptimizer, with its noise set to 0."""

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
        with warnings.catch_warnings():  # images need no gradient, and torch warns of it
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            losses.sum().backward()
        self._optimizer.clip_and_accumulate()
        for parameter in self._optimizer.params:
            parameter.grad_sample = None
        return losses.detach()

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return every parameter with its sum, and set the sums to zero."""
        sums = [(p, p.summed_grad.view_as(p)) for p in self._optimizer.params]
        for parameter in self._optimizer.params:
            parameter.summed_grad = None
        return sums

    def release(self) -> None:
        """Remove the hooks from the model."""
        self._hooked.to_standard_module()
