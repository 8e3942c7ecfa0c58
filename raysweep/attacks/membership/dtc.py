"""Distance to confident: how far an input is from a low-loss one (Kaya et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Gt, Lt
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Distances, Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.training import signals
from raysweep.training.signals import Floats

if TYPE_CHECKING:
    from torch import Tensor, nn


AT_ONCE = 64  # of them fit a core's cache; a GPU takes SIDE_BY_SIDE times as many

SIDE_BY_SIDE = 16

GRAIN = 1e-6  # distances are multiples of the step, but for the pixels that meet 0 or 1


@dataclass(frozen=True, kw_only=True)
class Dtc:
    """White-box: members are nearer to where the model is confident.

    Signed gradient steps (PGD) lower the example's loss until it is below the members' median:
    ``step`` in L-infinity, on inputs in [0, 1], at least one and at most ``steps`` of them.
    """

    needs: ClassVar[tuple[Need, ...]] = ("white-box", "training-loss")

    step: Annotated[
        float, Gt(0), Lt(1), Field(description="size of a step on inputs in [0, 1], in L-infinity")
    ] = 0.001
    steps: Annotated[int, Gt(0), Field(description="most steps for each example")] = 100

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return minus the distance, between -step * steps and -step; ties are told by the loss.

        Raises:
            DataError: ``knowledge`` does not grant the median training loss.

        """
        if knowledge.training_loss is None:
            law = "stops at the members' median loss"
            raise DataError(f"attack 'dtc' {law}, got none; give Knowledge(training_loss=...)")
        threshold = knowledge.training_loss[1]
        moved, reached = distances(
            target.model, examples, threshold=threshold, step=self.step, steps=self.steps
        )
        farthest = self.step * self.steps
        values = np.where(reached, np.clip(moved, self.step, farthest), farthest)
        logits = target.logits(examples)
        found = Distances(
            values=values,
            reached=reached,
            unsure=signals.cross_entropy(logits, examples.labels) >= threshold,
        )
        sure = np.clip(signals.label_log_odds(logits, examples.labels), -500.0, 500.0) / 1000.0
        return Scores(values=-values + GRAIN * 0.9 * sure, distances=found)


def distances(
    model: nn.Module, examples: Split, *, threshold: float, step: float, steps: int
) -> tuple[Floats, np.ndarray]:
    """Return how far each example moved, in L-infinity, and whether its loss fell below.

    Both (n,). Every step is one forward and one backward pass of AT_ONCE examples: who is
    confident gives up the place to the next in line, so the batch stays full and no example waits
    for another. The loss is compared, and lowered, as the log-odds of the label: the same order
    and the same signs, but no underflow where a model is very sure.
    """
    import torch

    from raysweep.training.target import pixels

    device = next(model.parameters()).device
    x, y = examples.tensors(device)
    far, n = torch.zeros(len(y), device=device), len(y)
    reached = torch.zeros(n, dtype=torch.bool, device=device)
    at_once = AT_ONCE if device.type == "cpu" else SIDE_BY_SIDE * AT_ONCE
    places = torch.arange(min(at_once, n), device=device)
    start, following = pixels(x[places], examples), len(places)
    shift, taken = torch.zeros_like(start), torch.zeros_like(places)
    live = torch.ones_like(places, dtype=torch.bool)
    goal = threshold + float(np.log(-np.expm1(-threshold))) if threshold > 0 else -np.inf
    while bool(live.any()):
        point = (start + shift).requires_grad_()
        doubts = doubt(model(point), y[places])
        (slope,) = torch.autograd.grad(doubts.sum(), point)
        sure = live & (taken > 0) & (doubts.detach() < goal)
        far[places[sure]] = shift[sure].flatten(1).abs().amax(dim=1)
        reached[places[sure]] = True
        live &= ~sure & (taken < steps)
        shift = (shift - step * slope.sign()).clamp(-start, 1 - start)
        taken = taken + 1
        free = (~live).nonzero().flatten()[: n - following]
        places[free] = torch.arange(following, following + len(free), device=device)
        following += len(free)
        start[free], shift[free] = pixels(x[places[free]], examples), 0.0
        taken[free], live[free] = 0, True
        if 4 * int(live.sum()) <= 3 * len(live):  # nobody is left to fill the batch up
            places, start, shift = places[live], start[live], shift[live]
            taken, live = taken[live], live[live]
    grains = far.double().cpu().numpy() / GRAIN
    return grains.round() * GRAIN, reached.cpu().numpy()


def doubt(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log((1 - p_label) / p_label), (n,): rises and falls with the cross-entropy."""
    import torch.nn.functional as F

    own = F.one_hot(labels, logits.shape[1]).bool()
    others: Tensor = logits.masked_fill(own, -float("inf")).logsumexp(dim=1)
    return others - logits.masked_select(own)
