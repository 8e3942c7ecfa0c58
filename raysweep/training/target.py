"""The trained target that an attacker observes: its logits and its activations."""

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
from raysweep.errors import ModelError, NotFinite
from raysweep.training import signals
from raysweep.training.recipe import EVALUATION_BATCH, PrivacySpent

FINITE_REMEDY = "lower the learning rate, or change what the model computes for these examples"


@dataclass(frozen=True, kw_only=True)
class TrainedTarget:
    """A trained model in evaluation mode.

    An attacker may observe it on unchanged inputs, and is not told who its members are.
    """

    model: nn.Module
    n_classes: int
    privacy: PrivacySpent | None
    _members: Split = field(repr=False)
    device: torch.device
    evaluation_batch: int = EVALUATION_BATCH
    _cached_logits: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @property
    def member_loss(self) -> tuple[float, float]:
        """The (mean, median) cross-entropy over the members, a threshold of Yeom et al. 2018."""
        losses = signals.cross_entropy(self.logits(self._members), self._members.labels)
        return float(losses.mean()), float(np.median(losses))

    def logits(self, examples: Split) -> NDArray[np.float32]:
        """Return the logits, (n, classes), from a cache if these examples were evaluated before."""
        key = _key(examples.indices)
        if key not in self._cached_logits:
            self._cached_logits[key] = compute_logits(
                self.model, examples, self.device, self.evaluation_batch
            )
        return self._cached_logits[key]

    def keep_logits(self, examples: Split, rows: NDArray[np.int64]) -> None:
        """Evaluate ``examples``, and keep the logits of ``rows`` (n,) among them as those of a set.

        :meth:`logits` then finds them without another evaluation, up to rounding.
        """
        self._cached_logits.setdefault(_key(examples.indices[rows]), self.logits(examples)[rows])

    def activations(self, examples: Split, layer: str) -> Tensor:
        """Return the flat activations after ``layer``, (n, features), on the CPU.

        For ``output`` this is log(max(p, 1e-38)) of the posteriors, all that a black-box attacker
        sees. The layers after ``layer`` are not run.

        Raises:
            ModelError: the model has no such layer, or does not call it.

        """
        if layer == "output":
            return torch.from_numpy(signals.inversion_view(self.logits(examples))).float()

        modules = dict(self.model.named_modules())
        if layer not in modules:
            names = ", ".join(name for name in modules if name)
            raise ModelError(f"the model has no layer {layer!r}; it has {names}")

        def stop(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            raise _LayerReached(output)

        def run_up_to_layer(x: Tensor) -> Tensor:
            try:
                self.model(x)
            except _LayerReached as reached:
                return reached.output.flatten(1)
            raise ModelError(
                f"the model did not call its layer {layer!r}; its activations cannot be observed"
            )

        hook = modules[layer].register_forward_hook(stop)
        try:
            return _outputs(
                run_up_to_layer,
                examples,
                self.device,
                self.evaluation_batch,
                values=f"the outputs of layer {layer!r}",
            )
        finally:
            hook.remove()


def _key(indices: NDArray[np.int64]) -> bytes:
    return hashlib.sha256(indices.tobytes()).digest()


class _LayerReached(Exception):
    """Raised by a hook to stop the forward pass at the requested layer."""

    def __init__(self, output: Tensor) -> None:
        self.output = output


def pixels(x: Tensor, examples: Split) -> Tensor:
    """Return stored features as floats in [0, 1], in torch's default dtype."""
    return x.to(torch.get_default_dtype()) / examples.top


ON_GPU = 4
"""How many batches of a CPU's evaluation make one of a GPU's."""


@torch.inference_mode()
def _outputs(
    forward: Callable[[Tensor], Tensor],
    examples: Split,
    device: torch.device,
    batch: int,
    values: str = "the model's outputs",
) -> Tensor:
    """Return the outputs of ``forward`` for all examples, (n, ...) on the CPU.

    ``forward`` maps inputs in [0, 1] to outputs, ``batch`` examples at once. A GPU waits after each
    batch, so that it takes ON_GPU times the default, but no more than a lower ``batch``. ``values``
    says in an error what the outputs are.

    Raises:
        NotFinite: an output is not a finite number.

    """
    x, _ = examples.tensors(device)
    is_default = batch >= EVALUATION_BATCH  # less where memory was short
    parts = x.split(ON_GPU * batch if is_default and device.type != "cpu" else batch)
    outputs = gather((forward(pixels(part, examples)) for part in parts), len(x))

    broken = ~outputs.flatten(1).isfinite().all(dim=1) if len(x) else torch.zeros(0)
    if broken.any():
        raise NotFinite(
            f"{values} are not finite numbers for {int(broken.sum()):,} of {len(x):,} examples",
            examples=examples.indices[broken.numpy()].tolist(),
            values=values,
            remedy=FINITE_REMEDY,
        )
    return outputs


def compute_logits(
    model: nn.Module, examples: Split, device: torch.device, batch: int
) -> NDArray[np.float32]:
    """Return the logits of all examples, (n, classes), computed ``batch`` examples at once."""
    return _outputs(model, examples, device, batch).numpy()


def gather(parts: Iterable[Tensor], n: int) -> Tensor:
    """Return parts (rows, ...) as one tensor of ``n`` rows, fp32, on the CPU.

    Each part is copied as soon as it is computed. Small results that stay in memory between the
    large temporaries of forward passes would fragment a worker's heap.
    """
    result, done = torch.empty(0, dtype=torch.float32), 0
    for part in parts:
        if done == 0:
            result = torch.empty(n, *part.shape[1:], dtype=torch.float32)
        result[done : done + len(part)] = part
        done += len(part)
    return result


def predict(
    model: nn.Module, examples: Split, device: torch.device, *, batch: int = EVALUATION_BATCH
) -> NDArray[np.int64]:
    """Return the class with the highest logit for each example, (n,)."""
    predicted: NDArray[np.int64] = compute_logits(model, examples, device, batch).argmax(axis=1)
    return predicted
