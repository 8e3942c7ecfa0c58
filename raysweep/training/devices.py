"""The device, the precision and the memory layout in which a model computes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from raysweep.config.user_errors import text_of
from raysweep.errors import ModelError

_NO_MEMORY = re.compile(r"can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED")
"""What torch writes in a ``RuntimeError`` of another type where memory is short."""


def default_device() -> torch.device:
    """Return the GPU if torch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's global generators that a computation on ``device`` may draw from."""
    if device.type == "cpu":  # torch.manual_seed keeps a stack trace for a GPU that may come
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch or Python says that memory was short."""
    is_known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_known or _NO_MEMORY.search(text_of(error)) is not None


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Return the context for a forward pass: torch's autocast for ``bf16``, none for ``fp32``.

    Raises:
        ModelError: the device does not support bf16.

    """
    if precision == "fp32":
        return contextlib.nullcontext()

    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported()
    else:
        has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    if not has_bf16:
        raise ModelError(
            f"training.precision is bf16 and this {device.type} does not support it",
            remedy="set training.precision to fp32",
        )
    return torch.autocast(device.type, torch.bfloat16)


def channels_last(model: nn.Module, example: Tensor) -> nn.Module:
    """Change the weights of an image model to channels last, in place, and return the model.

    The model is run on ``example`` (n, *shape) as a test. A model that fails in this layout keeps
    the usual one: it calls ``view`` on the output of a convolution, or has weights of 5 dimensions.
    """
    if example.dim() != 4:
        return model

    was_training = model.training
    try:
        model.eval().to(memory_format=torch.channels_last)
        with torch.no_grad():
            model(example)
    except Exception:  # a model that fails in every layout is told so where it is used
        model.to(memory_format=torch.contiguous_format)
    return model.train(was_training)


def copy_at_once(tensors: Iterable[Tensor], device: torch.device) -> Iterable[Tensor]:
    """Return tensors that differ in their last dimension alone on ``device``, by one copy.

    For each copy the CPU waits until a GPU has done all that was asked of it. On a CPU they are
    returned as they are, one after the other.
    """
    if device.type == "cpu":
        return tensors
    parts = list(tensors)
    sizes = [part.shape[-1] for part in parts]
    return torch.cat(parts, dim=-1).to(device).split(sizes, dim=-1) if parts else parts
