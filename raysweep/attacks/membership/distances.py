"""Distances to a confident prediction, by signed gradient steps (PGD) in L-infinity."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysweep.data import Split
from raysweep.training.signals import Floats
from raysweep.training.target import pixels

CPU_BATCH = 64  # examples per step: their activations fit a core's cache

GPU_BATCH = 1024

RESOLUTION = 1e-6  # distances are multiples of it, and ties are broken by less


def distances(
    model: nn.Module, examples: Split, *, threshold: float, step: float, steps: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how far each example moved, in L-infinity, and whether its loss fell enough.

    Both are (n,). The loss must fall below ``threshold``. Each example takes at least one and at
    most ``steps`` steps. The log-odds against the label stand in for the loss. They have the same
    order and the same gradient signs, and do not underflow when a model is very confident.
    """
    device = next(model.parameters()).device
    x, labels = examples.tensors(device)
    goal = _odds_at_loss(threshold)
    moved = torch.zeros(len(x), device=device)
    reached = torch.zeros(len(x), dtype=torch.bool, device=device)
    batch = _Batch(x, examples, CPU_BATCH if device.type == "cpu" else GPU_BATCH)

    while bool(batch.moving.any()):
        point = (batch.start + batch.shift).requires_grad_()
        odds = log_odds_against(model(point), labels[batch.rows])
        (slope,) = torch.autograd.grad(odds.sum(), point)

        confident = batch.moving & (batch.taken > 0) & (odds.detach() < goal)
        moved[batch.rows[confident]] = batch.shift[confident].flatten(1).abs().amax(dim=1)
        reached[batch.rows[confident]] = True
        batch.moving &= ~confident & (batch.taken < steps)

        batch.move(slope, step)
        batch.refill()
        batch.shrink()

    rounded = (moved.double().cpu().numpy() / RESOLUTION).round() * RESOLUTION
    return rounded, reached.cpu().numpy()


class _Batch:
    """The examples that are moved together. A finished one is replaced by the next example.

    For each slot of the batch: the ``rows`` of the examples in the data, their inputs at the
    ``start``, the ``shift`` so far, the number of steps ``taken``, and whether they are still
    ``moving``.
    """

    def __init__(self, x: Tensor, examples: Split, size: int) -> None:
        self._x, self._examples = x, examples
        self._next = min(size, len(x))
        self.rows = torch.arange(self._next, device=x.device)
        self.start = pixels(x[self.rows], examples)
        self.shift = torch.zeros_like(self.start)
        self.taken = torch.zeros_like(self.rows)
        self.moving = torch.ones_like(self.rows, dtype=torch.bool)

    def move(self, slope: Tensor, step: float) -> None:
        """Take a step of ``step`` against the sign of ``slope``, within [0, 1]."""
        self.shift = (self.shift - step * slope.sign()).clamp(-self.start, 1 - self.start)
        self.taken = self.taken + 1

    def refill(self) -> None:
        """Put the next examples into the slots of finished ones, so that the batch stays full."""
        free = (~self.moving).nonzero().flatten()[: len(self._x) - self._next]
        last = self._next + len(free)
        self.rows[free] = torch.arange(self._next, last, device=self.rows.device)
        self._next = last

        self.start[free] = pixels(self._x[self.rows[free]], self._examples)
        self.shift[free] = 0.0
        self.taken[free] = 0
        self.moving[free] = True

    def shrink(self) -> None:
        """Drop the finished slots once they are a quarter of the batch and no example is left."""
        keep = self.moving
        if 4 * int(keep.sum()) > 3 * len(keep):
            return
        self.rows, self.start, self.shift = self.rows[keep], self.start[keep], self.shift[keep]
        self.taken, self.moving = self.taken[keep], keep[keep]


def log_odds_against(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log((1 - p_label) / p_label), (n,): rises and falls with the cross-entropy."""
    is_label = F.one_hot(labels, logits.shape[1]).bool()
    others: Tensor = logits.masked_fill(is_label, -float("inf")).logsumexp(dim=1)
    return others - logits.masked_select(is_label)


def _odds_at_loss(loss: float) -> float:
    """Return the log-odds against the label at a cross-entropy of ``loss``."""
    return loss + float(np.log(-np.expm1(-loss))) if loss > 0 else -np.inf
