"""The inference model h of Nasr et al. 2018, which predicts membership from logits and a label.

The defence trains one alongside the target, and the attack trains a new one against the target.
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
from raysweep.training.optimizers import make_adam

LEARNING_RATE = 1e-4

SIDE_BATCH_SIZE = 128
"""Members in a batch; the batch has as many nonmembers."""

HELD_OUT_SHARE = 0.2

STEPS_PER_CHECK = 25
"""Steps between two evaluations on the held-out examples."""

MAX_CHECKS_WITHOUT_GAIN = 10
"""Training ends after so many evaluations in a row that are no better than the best."""

Columns = tuple[Tensor, Tensor]
"""Logits (n, classes) and labels (n,) of members or of nonmembers."""


def _dense(widths: Sequence[int]) -> list[nn.Module]:
    """Return dense layers of these widths, the first of which is the number of inputs."""
    layers: list[nn.Module] = []
    for size, width in pairwise(widths):
        layers += [nn.Linear(size, width), nn.ReLU()]
    return layers


class InferenceNetwork(nn.Module):
    """The network h: one column for logits, one for one-hot labels, then five common dense layers.

    Classes are sorted by rank: the label comes first, and the others follow from the highest logit
    to the lowest, because membership does not depend on the class's number. Nasr et al. keep the
    order of the classes. The network then overfits: its accuracy is 0.52 instead of 0.62, where a
    guess by whether the prediction is right reaches 0.60. With 60 known members its AUC is 0.49
    instead of 0.59. A target that is trained against such a network is ruined. With sorted
    classes the column for labels, which stays as published, has the same input for every example.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self._n_classes = n_classes
        self.outputs = nn.Sequential(*_dense([n_classes, 1024, 512, 64]))
        self.labels = nn.Sequential(*_dense([n_classes, 128, 64]))
        self.both = nn.Sequential(*_dense([128, 512, 256, 128, 64]), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the log-odds of membership, (n,), for logits (n, classes) and labels (n,)."""
        label_first = logits.detach().scatter(1, labels[:, None], torch.inf)
        ranked = logits.gather(1, label_first.argsort(dim=1, descending=True))
        one_hot = F.one_hot(torch.zeros_like(labels), self._n_classes).to(logits.dtype)
        columns = torch.cat([self.outputs(ranked), self.labels(one_hot)], dim=1)
        odds: Tensor = self.both(columns)[:, 0]
        return odds


class InferenceTraining:
    """Trains an inference model by Adam on the squared error to 1 (member) or 0 (nonmember)."""

    def __init__(self, model: InferenceNetwork) -> None:
        self.model = model
        self._optimizer = make_adam(model.parameters(), LEARNING_RATE)

    def step(self, members: Columns, nonmembers: Columns) -> None:
        """Take one step on a batch of members and a batch of nonmembers."""
        logits, labels = (torch.cat(pair) for pair in zip(members, nonmembers, strict=True))
        truth = torch.zeros(len(labels), device=labels.device)
        truth[: len(members[1])] = 1
        self._optimizer.zero_grad()
        F.mse_loss(torch.sigmoid(self.model(logits, labels)), truth).backward()
        self._optimizer.step()

    @torch.no_grad()
    def error(self, members: Columns, nonmembers: Columns) -> float:
        """Return the mean squared error; members and nonmembers weigh the same."""
        of_members = (1 - torch.sigmoid(self.model(*members))).square().mean()
        of_nonmembers = torch.sigmoid(self.model(*nonmembers)).square().mean()
        return float(of_members + of_nonmembers) / 2


def fit(
    members: Columns, nonmembers: Columns, *, n_classes: int, steps: int, seed: int
) -> Callable[[Columns], NDArray[np.float64]]:
    """Return a trained function that maps columns to log-odds of membership, (n,).

    A fifth of the members and of the nonmembers is held out, and the model with the least error on
    them is returned. Training ends when this error no longer falls, and at the latest after
    ``steps`` steps.
    """
    device = members[0].device
    all_logits = torch.cat([members[0], nonmembers[0]])
    mean, deviation = all_logits.mean(), all_logits.std() + 1e-6
    sides = [((logits - mean) / deviation, labels) for logits, labels in (members, nonmembers)]

    with isolated_rng(sub_seed(seed, "initialisation"), device):
        training = InferenceTraining(InferenceNetwork(n_classes).to(device))
    generator = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    fitted, held_out = zip(*(_hold_out(side, generator) for side in sides), strict=True)
    _train_to_best(training, fitted, held_out, steps, generator)

    def predict(columns: Columns) -> NDArray[np.float64]:
        with torch.inference_mode():
            odds = training.model((columns[0] - mean) / deviation, columns[1])
        return odds.double().cpu().numpy()  # type: ignore[no-any-return]

    return predict


def _train_to_best(
    training: InferenceTraining,
    fitted: Sequence[Columns],
    held_out: Sequence[Columns],
    steps: int,
    generator: torch.Generator,
) -> None:
    """Train on the ``fitted`` sides; end with the weights of least error on ``held_out``."""
    least_error, checks_without_gain = np.inf, 0
    best_state = copy.deepcopy(training.model.state_dict())

    for step in range(1, steps + 1):
        training.step(*(_draw_batch(side, generator) for side in fitted))
        if step % STEPS_PER_CHECK:
            continue

        error = training.error(*held_out)
        checks_without_gain += 1
        if error < least_error:
            least_error, checks_without_gain = error, 0
            best_state = copy.deepcopy(training.model.state_dict())
        elif checks_without_gain >= MAX_CHECKS_WITHOUT_GAIN:
            break

    training.model.load_state_dict(best_state)


def _hold_out(side: Columns, generator: torch.Generator) -> tuple[Columns, Columns]:
    """Return the examples to train on and the examples that are held out."""
    logits, labels = side
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    n_held_out = max(1, round(HELD_OUT_SHARE * len(order)))
    held_out, fitted = order[:n_held_out], order[n_held_out:]
    return (logits[fitted], labels[fitted]), (logits[held_out], labels[held_out])


def _draw_batch(side: Columns, generator: torch.Generator) -> Columns:
    """Return a random batch of one side, drawn with replacement."""
    logits, labels = side
    size = min(len(labels), SIDE_BATCH_SIZE)
    rows = torch.randint(len(labels), (size,), generator=generator).to(labels.device)
    return logits[rows], labels[rows]
