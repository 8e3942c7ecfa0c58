"""The inference model h of Nasr et al. 2018: from logits and a label to membership.

The defence trains one beside the target, the attack trains a fresh one against it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysweep.config import sub_seed
from raysweep.training.loop import isolated_rng
from raysweep.training.optimizers import Adam

LEARNING_RATE = 1e-4

BATCH = 128  # of either side

HELD_OUT = 0.2

LOOK, PATIENCE = 25, 10
"""Steps between two looks at the held-out part, and how many looks may bring nothing new."""

Columns = tuple[Tensor, Tensor]  # logits (n, classes) and labels (n,)


def _dense(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size, width in pairwise(widths):
        layers += [nn.Linear(size, width), nn.ReLU()]
    return layers


class InferenceModel(nn.Module):
    """Two columns, one of logits and one of one-hot labels, that meet in five dense layers.

    Classes are renamed by rank: the label is the first, the others follow by falling logit, since
    membership knows no names. Under their own names, as the authors have them, the model learns
    examples by heart (accuracy 0.52 in place of 0.62 where right or wrong alone tells 0.60; of 60
    known members AUC 0.49 in place of 0.59), and beside a target that ruins it. The second column,
    as published, then says the same of every example.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self._n_classes = n_classes
        self.outputs = nn.Sequential(*_dense([n_classes, 1024, 512, 64]))
        self.labels = nn.Sequential(*_dense([n_classes, 128, 64]))
        self.both = nn.Sequential(*_dense([128, 512, 256, 128, 64]), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the log-odds of membership, (n,), for logits (n, classes) and labels (n,)."""
        first = logits.detach().scatter(1, labels[:, None], torch.inf)
        ranked = logits.gather(1, first.argsort(dim=1, descending=True))
        one_hot = F.one_hot(torch.zeros_like(labels), self._n_classes).to(logits.dtype)
        columns = torch.cat([self.outputs(ranked), self.labels(one_hot)], dim=1)
        odds: Tensor = self.both(columns)[:, 0]
        return odds


class InferenceTraining:
    """Trains an inference model: Adam at 1e-4 on the mean squared error to 1 (member) and 0."""

    def __init__(self, model: InferenceModel) -> None:
        self.model = model
        self._optimizer = Adam(model.parameters(), LEARNING_RATE)

    def step(self, members: Columns, nonmembers: Columns) -> None:
        """Take one step on a batch of either side."""
        logits, labels = (torch.cat(pair) for pair in zip(members, nonmembers, strict=True))
        truth = torch.zeros(len(labels), device=labels.device)
        truth[: len(members[1])] = 1
        self._optimizer.zero_grad()
        F.mse_loss(torch.sigmoid(self.model(logits, labels)), truth).backward()
        self._optimizer.step()

    @torch.no_grad()
    def error(self, members: Columns, nonmembers: Columns) -> float:
        """Return the mean squared error, both sides weighing the same."""
        missed = (1 - torch.sigmoid(self.model(*members))).square().mean()
        mistaken = torch.sigmoid(self.model(*nonmembers)).square().mean()
        return float(missed + mistaken) / 2


def fit(
    members: Columns, nonmembers: Columns, *, n_classes: int, steps: int, seed: int
) -> Callable[[Columns], NDArray[np.float64]]:
    """Return a function from columns to log-odds of membership, (n,).

    A fifth of either side is held out, and the model is kept as it was when it told that part
    apart best; training ends when it no longer gets better at that, after ``steps`` at the latest.
    """
    device = members[0].device
    everything = torch.cat([members[0], nonmembers[0]])
    middle, spread = everything.mean(), everything.std() + 1e-6
    members, nonmembers = (((x - middle) / spread, y) for x, y in (members, nonmembers))
    with isolated_rng(sub_seed(seed, "initialisation"), device):
        training = InferenceTraining(InferenceModel(n_classes).to(device))
    generator = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    sides = [_parted(side, generator) for side in (members, nonmembers)]
    taught, judged = [side[0] for side in sides], [side[1] for side in sides]
    best, waited = np.inf, 0
    state = copy.deepcopy(training.model.state_dict())
    for step in range(1, steps + 1):
        training.step(*(_drawn(side, generator) for side in taught))
        if step % LOOK:
            continue
        error, waited = training.error(*judged), waited + 1
        if error < best:
            best, waited, state = error, 0, copy.deepcopy(training.model.state_dict())
        elif waited >= PATIENCE:
            break
    training.model.load_state_dict(state)

    def predict(columns: Columns) -> NDArray[np.float64]:
        with torch.inference_mode():
            odds = training.model((columns[0] - middle) / spread, columns[1])
        return odds.double().cpu().numpy()  # type: ignore[no-any-return]

    return predict


def _parted(side: Columns, generator: torch.Generator) -> tuple[Columns, Columns]:
    """Return the part to learn from and the part that is held out."""
    order = torch.randperm(len(side[1]), generator=generator).to(side[1].device)
    cut = max(1, round(HELD_OUT * len(order)))
    taught, judged = (tuple(x[rows] for x in side) for rows in (order[cut:], order[:cut]))
    return (taught[0], taught[1]), (judged[0], judged[1])


def _drawn(side: Columns, generator: torch.Generator) -> Columns:
    """Return a batch of one side."""
    n = len(side[1])
    rows = torch.randint(n, (min(n, BATCH),), generator=generator).to(side[1].device)
    return side[0][rows], side[1][rows]
