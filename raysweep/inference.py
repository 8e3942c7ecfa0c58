"""The inference model h of Nasr et al. 2018: from logits and a label to membership.

The defence trains one beside the target, the attack trains a fresh one against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEARNING_RATE = 1e-4


def _dense(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size, width in pairwise(widths):
        layers += [nn.Linear(size, width), nn.ReLU()]
    return layers


class InferenceModel(nn.Module):
    """Two columns, one of logits and one of one-hot labels, that meet in five dense layers."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self._n_classes = n_classes
        self.outputs = nn.Sequential(*_dense([n_classes, 1024, 512, 64]))
        self.labels = nn.Sequential(*_dense([n_classes, 128, 64]))
        self.both = nn.Sequential(*_dense([128, 512, 256, 128, 64]), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the log-odds of membership, (n,), for logits (n, classes) and labels (n,)."""
        one_hot = F.one_hot(labels, self._n_classes).to(logits.dtype)
        columns = torch.cat([self.outputs(logits), self.labels(one_hot)], dim=1)
        odds: Tensor = self.both(columns)[:, 0]
        return odds


class InferenceTraining:
    """Trains an inference model: Adam at 1e-4 on the mean squared error to 1 (member) and 0."""

    def __init__(self, model: InferenceModel) -> None:
        self.model = model
        self._optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)

    def step(self, logits: Tensor, labels: Tensor, truth: Tensor) -> None:
        """Take one step on a batch; ``truth`` (n,) is 1.0 for members."""
        self._optimizer.zero_grad()
        guess = torch.sigmoid(self.model(logits, labels))
        F.mse_loss(guess, truth).backward()
        self._optimizer.step()
