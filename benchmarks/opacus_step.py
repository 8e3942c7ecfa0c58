"""A private step by Opacus on any device, and how far its clipped sum is from ours."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def opacus_step(model: nn.Module, *, noise_multiplier: float) -> tuple[nn.Module, Any]:
    """Return the model with Opacus' hooks, and the optimizer that clips what they find."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    hooked: Any = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(hooked.parameters(), lr=0.1),
        noise_multiplier=noise_multiplier,
        max_grad_norm=1.0,
        expected_batch_size=1,
    )
    return hooked, optimizer


def sum_error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the relative difference of our clipped sum of one batch from Opacus'."""
    from raysweep.defences.dpsgd.choice import clipping

    ours = clipping(model, x, 1.0)
    ours.add(lambda part: F.cross_entropy(ours.forward(part), y, reduction="none"), x)
    mine = torch.cat([total.flatten().clone() for _, total in ours.take()])
    ours.release()

    hooked, optimizer = opacus_step(model, noise_multiplier=0.0)
    F.cross_entropy(hooked(x), y, reduction="sum").backward()
    optimizer.clip_and_accumulate()
    theirs = torch.cat([p.summed_grad.flatten() for p in optimizer.params])
    return float((mine - theirs).norm() / theirs.norm())
