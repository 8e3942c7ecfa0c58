"""A trained model as an attacker meets it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysweep.data import Split
from raysweep.errors import ModelError
from raysweep.training import signals
from raysweep.training.recipe import EVALUATION_BATCH, PrivacySpent


@dataclass(frozen=True, kw_only=True)
class TrainedTarget:
    """A trained model as an attacker meets it: in evaluation mode, on original inputs.

    ``member_loss`` is the (mean, median) cross-entropy over the members: what Yeom's threshold is
    granted.
    """

    model: nn.Module
    n_classes: int
    privacy: PrivacySpent | None
    member_loss: tuple[float, float]
    device: torch.device
    evaluation_batch: int = EVALUATION_BATCH
    _known: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def logits(self, examples: Split) -> NDArray[np.float32]:
        """Return the logits, (n, classes); computed once for the same examples in one order."""
        key = hashlib.sha256(examples.indices.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._evaluate(examples)
        return self._known[key]

    def activations(self, examples: Split, layer: str) -> Tensor:
        """Return the flat activations after ``layer``, (n, features), on the CPU.

        ``output`` is the prediction vector as log(max(p, 1e-7)): what a black-box attacker sees.
        Layers above are not run.

        Raises:
            ModelError: the model has no such layer, or does not call it.

        """
        if layer == "output":
            return torch.from_numpy(signals.inversion_view(self.logits(examples))).float()
        modules = dict(self.model.named_modules())
        if layer not in modules:
            names = ", ".join(name for name in modules if name)
            raise ModelError(f"the model has no layer {layer!r}; it has {names}")

        def reach(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            raise _Reached(output)

        def seen(x: Tensor) -> Tensor:
            try:
                self.model(x)
            except _Reached as reached:
                return reached.output.flatten(1)
            told = f"the model did not call its layer {layer!r}"
            raise ModelError(f"{told}; its activations cannot be observed")

        hook = modules[layer].register_forward_hook(reach)
        try:
            return _outputs(seen, examples, self.device, self.evaluation_batch)
        finally:
            hook.remove()

    def _evaluate(self, examples: Split) -> NDArray[np.float32]:
        return _logits(self.model, examples, self.device, self.evaluation_batch)


class _Reached(Exception):
    """The layer that is asked for has spoken: what lies above it need not run."""

    def __init__(self, output: Tensor) -> None:
        self.output = output


def pixels(x: Tensor, examples: Split) -> Tensor:
    """Return stored values as torch's default floats in [0, 1]."""
    return x.to(torch.get_default_dtype()) / examples.top


@torch.inference_mode()
def _outputs(
    forward: Callable[[Tensor], Tensor], examples: Split, device: torch.device, batch: int
) -> Tensor:
    """Return what ``forward`` gives for examples in [0, 1], (n, ...) on the CPU."""
    x, _ = examples.tensors(device)
    return gathered((forward(pixels(part, examples)) for part in x.split(batch)), len(x))


def _logits(
    model: nn.Module, examples: Split, device: torch.device, batch: int
) -> NDArray[np.float32]:
    return _outputs(model, examples, device, batch).numpy()


def gathered(parts: Iterable[Tensor], n: int) -> Tensor:
    """Return parts (rows, ...) as one tensor of ``n`` rows, fp32, on the CPU.

    They are copied as they come: small results that live on between the large temporaries of a
    forward pass tear holes into the heap, which a worker then keeps.
    """
    found, done = torch.empty(0, dtype=torch.float32), 0
    for part in parts:
        if done == 0:
            found = torch.empty(n, *part.shape[1:], dtype=torch.float32)
        found[done : done + len(part)] = part
        done += len(part)
    return found


def accuracy(
    model: nn.Module, examples: Split, device: torch.device, *, batch: int = EVALUATION_BATCH
) -> float:
    """Return the share of examples whose highest logit is their label, in [0, 1]."""
    return float((_logits(model, examples, device, batch).argmax(axis=1) == examples.labels).mean())
