"""The small classifier that tells members from nonmembers by a few numbers each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from raysweep.signals import Floats
from raysweep.train import isolated_rng

STEPS = 200
CPU = torch.device("cpu")


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
