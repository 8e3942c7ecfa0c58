"""The sum of clipped per-example gradients, two ways that agree to rounding.

``LayerwiseClipping`` knows linear layers and 2-D convolutions. The norm of a linear layer's
per-example gradient is the product of two norms, and is never written out (Goodfellow 2015). Where
a convolution has fewer output pixels than weights its norm comes from two Gram matrices (Bu et al.
2022), elsewhere from one grouped convolution over the whole batch (Rochette et al. 2019).
``OpacusClipping`` is Opacus' own, for every other layer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from raysweep.errors import PrivacyError

Loss = Callable[[Tensor], Tensor]
GROUPED = 32  # examples in one grouped convolution
NUDGE = 1e-6  # as in Opacus: the factor is C / (norm + 1e-6), at most 1


class Clipping(Protocol):
    """Adds up clipped gradients over the parts of a batch."""

    name: str
    bytes_per_example: int

    def add(self, loss: Loss, x: Tensor) -> Tensor:
        """Add the clipped gradients of the examples ``x``; return their losses (n,)."""

    def take(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Return every parameter with its sum, and start again from zero."""

    def release(self) -> None:
        """Let go of the model."""


def clipping(model: nn.Module, example: Tensor, max_grad_norm: float) -> Clipping:
    """Return the faster way that fits ``model``, tried on ``example`` (n, *shape)."""
    probe = _Probe(model)
    probe.run(example)
    if not probe.has_rules:
        return OpacusClipping(model, max_grad_norm)
    return LayerwiseClipping(probe.owners, max_grad_norm, copies=probe.works_in_place)


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
        self._calls: list[tuple[nn.Module, bool]] = []
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
        self._calls.append((layer, _has_rule(layer) and _fits(layer, inputs[0])))
        self._tensors += [(tensor, tensor._version) for tensor in (inputs[0], output)]

    @property
    def has_rules(self) -> bool:
        """Whether layer-by-layer clipping is right for this model."""
        parameters = [id(p) for layer in self.owners for p in layer.parameters(False)]
        once = sorted(id(m) for m, _ in self._calls) == sorted(id(m) for m in self.owners)
        return once and len(set(parameters)) == len(parameters) and all(f for _, f in self._calls)

    @property
    def works_in_place(self) -> bool:
        """Whether a tensor that a layer took or gave was overwritten afterwards."""
        return any(tensor._version != version for tensor, version in self._tensors)


def _has_rule(layer: nn.Module) -> bool:
    if not all(p.requires_grad for p in layer.parameters(False)):
        return False
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear


def _fits(layer: nn.Module, a: Tensor) -> bool:
    return a.dim() == (4 if isinstance(layer, nn.Conv2d) else 2)


class LayerwiseClipping:
    """Clips without writing out the gradients of linear layers."""

    name = "layerwise"

    def __init__(self, layers: list[nn.Module], max_grad_norm: float, *, copies: bool) -> None:
        self._layers, self._max_grad_norm, self._copies = layers, max_grad_norm, copies
        self._seen: list[tuple[nn.Module, Tensor, Tensor]] = []
        self._sums: dict[nn.Parameter, Tensor] = {}
        self._hooks = [layer.register_forward_hook(self._keep) for layer in layers]
        kernels = [layer.weight.numel() for layer in layers if isinstance(layer, nn.Conv2d)]
        self.bytes_per_example = 4 * max(1, sum(kernels))

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
        if len(self._seen) != len(self._layers):
            told = f"{len(self._layers)} layers with parameters were called {len(self._seen)} times"
            raise PrivacyError(f"DP-SGD: in training, {told}; call each once, as in evaluation")
        if len(x) > 0:
            outputs = [output for _, _, output in self._seen]
            gradients = torch.autograd.grad(losses.sum(), outputs)
            with torch.no_grad():
                self._add(gradients)
        self._seen = []
        return losses.detach()

    def _add(self, gradients: tuple[Tensor, ...]) -> None:
        squares = torch.zeros(len(gradients[0]), device=gradients[0].device)
        kernels: list[Tensor | None] = []
        for (layer, a, _), g in zip(self._seen, gradients, strict=True):
            own = _kernel_gradients(layer, a, g) if _writes_out(layer, g) else None
            kernels.append(own)
            squares += _squared_norms(layer, a, g, own)
        factors = (self._max_grad_norm / (squares.sqrt() + NUDGE)).clamp(max=1.0)
        for (layer, a, _), g, own in zip(self._seen, gradients, kernels, strict=True):
            for parameter, total in _clipped_sums(layer, a, g, own, factors):
                before = self._sums.get(parameter)
                self._sums[parameter] = total if before is None else before + total

    def take(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Return every parameter with its sum, and start again from zero."""
        sums, self._sums = self._sums, {}
        parameters = [p for layer in self._layers for p in layer.parameters(False)]
        return [(p, sums[p] if p in sums else torch.zeros_like(p)) for p in parameters]

    def release(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()


def _writes_out(layer: nn.Module, g: Tensor) -> bool:
    """Return whether a layer's per-example gradients are cheaper written out than by their Gram."""
    if not isinstance(layer, nn.Conv2d):
        return False
    pixels = math.prod(g.shape[2:])
    return layer.groups > 1 or 2 * pixels**2 >= layer.weight.numel()


def _kernel_gradients(layer: nn.Module, a: Tensor, g: Tensor) -> Tensor:
    """Return each example's kernel gradient, (n, kernel size), examples as groups of one call.

    Always GROUPED examples at a time, the last ones filled up with zeros: a library that keeps a
    plan for every shape (oneDNN: 20 MiB each) then meets one, whatever size a Poisson batch has.
    """
    assert isinstance(layer, nn.Conv2d)
    n, missing = len(a), -len(a) % GROUPED
    a, g = (F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else x for x in (a, g))
    parts = zip(a.split(GROUPED), g.split(GROUPED), strict=True)
    return torch.cat([_grouped_gradients(layer, *part) for part in parts])[:n]


def _grouped_gradients(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    n, kernel = len(a), layer.weight
    own: Tensor = torch.ops.aten.convolution_backward(
        g.reshape(1, n * g.shape[1], *g.shape[2:]),
        a.reshape(1, n * a.shape[1], *a.shape[2:]),
        a.new_empty(n * kernel.shape[0], *kernel.shape[1:]),
        *_geometry(layer, groups=n * layer.groups),
    )[1]
    return own.view(n, -1)


def _geometry(layer: nn.Conv2d, *, groups: int) -> tuple[Any, ...]:
    """Return what ``convolution_backward`` takes after its tensors, asking for the kernel alone."""
    forward = (None, layer.stride, layer.padding, layer.dilation)
    return (*forward, False, [0, 0], groups, [False, True, False])


def _squared_norms(layer: nn.Module, a: Tensor, g: Tensor, own: Tensor | None) -> Tensor:
    """Return each example's squared gradient norm over one layer, (n,)."""
    if isinstance(layer, nn.Conv2d):
        squares = _gram_norms(layer, a, g) if own is None else own.square().sum(1)
        return squares if layer.bias is None else squares + g.flatten(2).sum(2).square().sum(1)
    inputs = a.square().sum(1) + (0.0 if layer.bias is None else 1.0)
    return g.square().sum(1) * inputs


def _gram_norms(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    """Return each example's squared kernel-gradient norm from inner products of output pixels."""
    assert not isinstance(layer.padding, str)
    patches = F.unfold(
        a, layer.kernel_size, dilation=layer.dilation, padding=layer.padding, stride=layer.stride
    )
    pixels = g.flatten(2)
    inputs, outputs = patches.mT @ patches, pixels.mT @ pixels
    return (inputs * outputs).sum((1, 2))


def _clipped_sums(
    layer: nn.Module, a: Tensor, g: Tensor, own: Tensor | None, factors: Tensor
) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield each parameter of a layer with its clipped sum over the examples."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, nn.Parameter)
    if own is not None:
        yield weight, (factors @ own).view_as(weight)
    elif isinstance(layer, nn.Conv2d):
        scaled = g * factors[:, None, None, None]
        geometry = _geometry(layer, groups=layer.groups)
        yield weight, torch.ops.aten.convolution_backward(scaled, a, weight, *geometry)[1]
    else:
        yield weight, (g * factors[:, None]).T @ a
    if isinstance(bias, nn.Parameter):
        yield bias, factors @ (g.flatten(2).sum(2) if g.dim() == 4 else g)


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

    def take(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Return every parameter with its sum, and start again from zero."""
        sums = [(p, p.summed_grad.view_as(p)) for p in self._optimizer.params]
        for parameter in self._optimizer.params:
            parameter.summed_grad = None
        return sums

    def release(self) -> None:
        """Take the hooks off."""
        self._hooked.to_standard_module()
