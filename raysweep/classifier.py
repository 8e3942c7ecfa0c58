"""The small classifier that tells members from nonmembers by a few numbers each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from raysweep import signals
from raysweep.data import Split
from raysweep.signals import Floats
from raysweep.train import TrainedTarget, isolated_rng

STEPS = 200
HIDDEN = {"mlp": 64, "logistic": 0}
CPU = torch.device("cpu")


def learn(
    lessons: Sequence[tuple[TrainedTarget, Split, Split]],
    *,
    kind: str,
    top: int | None,
    seed: int,
) -> Callable[[TrainedTarget, Split], Floats]:
    """Return a function from (target, examples) to log-odds of membership, (n,).

    A lesson is a model, members of it and nonmembers. Learnt and read off are the ``top`` highest
    posteriors (None: all), sorted; ``kind`` is ``mlp`` (64 units) or ``logistic``.
    """

    def posteriors(target: TrainedTarget, examples: Split) -> Floats:
        return signals.sorted_log_odds(target.logits(examples), top or target.n_classes)

    features, truth = [], []
    for target, members, nonmembers in lessons:
        features += [posteriors(target, members), posteriors(target, nonmembers)]
        truth.append(np.repeat([True, False], [len(members), len(nonmembers)]))
    predict = fit(np.concatenate(features), np.concatenate(truth), hidden=HIDDEN[kind], seed=seed)
    return lambda target, examples: predict(posteriors(target, examples))


def fit(
    features: Floats, truth: np.ndarray, *, hidden: int, seed: int
) -> Callable[[Floats], Floats]:
    """Return a function from features (n, k) to log-odds of membership (n,).

    One layer of ``hidden`` ReLU units (0: logistic regression), both classes weighing the same,
    full batches, Adam, on standardised features.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = torch.from_numpy((features - mean) / spread).float()
    y = torch.from_numpy(truth.astype(np.float32))
    weight = torch.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    with isolated_rng(seed, CPU):
        network: nn.Module = nn.Linear(x.shape[1], 1)
        if hidden:
            network = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(
        network.parameters(), lr=0.01 if hidden else 0.1, weight_decay=1e-4
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(x)[:, 0], y, weight=weight)
        loss.backward()
        optimizer.step()

    def predict(others: Floats) -> Floats:
        with torch.inference_mode():
            z = torch.from_numpy((others - mean) / spread).float()
            return network(z)[:, 0].double().numpy()  # type: ignore[no-any-return]

    return predict
