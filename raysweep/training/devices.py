"""Where and in which precision a model computes."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from raysweep.errors import ModelError


def default_device() -> torch.device:
    """Return the GPU where torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Return what a forward pass runs in: nothing for ``fp32``, torch's autocast for ``bf16``.

    Raises:
        ModelError: the device computes no bf16 by itself.

    """
    if precision == "fp32":
        return contextlib.nullcontext()
    on_cuda = device.type == "cuda"
    of_cpu = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    able = torch.cuda.is_bf16_supported() if on_cuda else of_cpu()
    if not able:
        remedy = "set training.precision to fp32"
        raise ModelError(f"training.precision is bf16 and this {device.type} has none; {remedy}")
    return torch.autocast(device.type, torch.bfloat16)


def channels_last(model: nn.Module, example: Tensor) -> nn.Module:
    """Lay out a model of images channels last, in place, where it can take it.

    ``example`` (n, *shape) is tried: a model that calls ``view`` on what a convolution gave needs
    the usual layout and keeps it.
    """
    if example.dim() != 4:
        return model
    was_training = model.training
    model.eval().to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            model(example)
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)
    return model.train(was_training)
