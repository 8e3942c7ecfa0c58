"""The thesis' adversary: flatten, dense, BatchNorm, LeakyReLU, reshape, then convolutions."""

from __future__ import annotations

import copy
from math import ceil, inf, prod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysweep.attacks.inversion.decoder import Decoder
from raysweep.config import sub_seed
from raysweep.training.loop import isolated_rng
from raysweep.training.optimizers import Adam
from raysweep.training.recipe import EVALUATION_BATCH
from raysweep.training.target import gather

BATCH = 64

LEARNING_RATE = 2e-3


def network(n_features: int, shape: tuple[int, ...]) -> nn.Module:
    """Return a module from (n, n_features) to (n, prod(shape)) in [0, 1]."""
    if len(shape) != 3:
        block = [nn.Linear(n_features, 512), nn.BatchNorm1d(512), nn.LeakyReLU(0.2)]
        return nn.Sequential(*block, nn.Linear(512, prod(shape)), nn.Sigmoid())
    channels, height, width = shape
    grid = ceil(height / 4), ceil(width / 4)
    depth = max(8, 512 // prod(grid))
    size = depth * prod(grid)
    return nn.Sequential(
        nn.Linear(n_features, size),
        nn.BatchNorm1d(size),
        nn.LeakyReLU(0.2),
        nn.Unflatten(1, (depth, *grid)),
        nn.Upsample((ceil(height / 2), ceil(width / 2))),
        nn.Conv2d(depth, 32, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Upsample((height, width)),
        nn.Conv2d(32, 16, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, channels, 3, padding=1),
        nn.Sigmoid(),
        nn.Flatten(),
    )


def fit(
    activations: Tensor,
    images: NDArray[np.float32],
    held_out: NDArray[np.bool_],
    shape: tuple[int, ...],
    *,
    epochs: int,
    seed: int,
    device: torch.device,
) -> Decoder:
    """Return the adversary trained with MSE, at its best epoch on the ``held_out`` rows.

    ``activations`` (n, features), ``images`` (n, prod(shape)) in [0, 1].
    """
    adversary = _Adversary(activations, shape, seed=seed, device=device)
    x, y = activations, torch.from_numpy(images)
    optimizer = Adam(adversary.net.parameters(), LEARNING_RATE)
    order = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    fitted, out = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~held_out, held_out))
    best, kept = inf, adversary.net.state_dict()
    for _ in range(epochs):
        adversary.net.train()
        for batch in fitted[torch.randperm(len(fitted), generator=order)].split(BATCH):
            if len(batch) < 2:  # BatchNorm needs two
                continue
            optimizer.zero_grad()
            F.mse_loss(adversary(x[batch]), y[batch].to(device)).backward()
            optimizer.step()
        error = adversary.error(x, y, out)
        if error < best:
            best, kept = error, copy.deepcopy(adversary.net.state_dict())
    adversary.net.load_state_dict(kept)
    return Decoder(decode=adversary.decode, held_out_mse=best)


class _Adversary:
    """The adversary and what brings activations to mean 0 and variance 1, a batch at a time.

    A standardised copy of all of them would double what a layer takes of a worker's memory.
    """

    def __init__(
        self, activations: Tensor, shape: tuple[int, ...], *, seed: int, device: torch.device
    ) -> None:
        self._mean = activations.mean(dim=0).to(device)
        self._spread = activations.std(dim=0).clamp_min(1e-6).to(device)
        self._device = device
        with isolated_rng(seed, device):
            self.net = network(activations.shape[1], shape).to(device)
        self.net.to(memory_format=torch.channels_last)

    def __call__(self, rows: Tensor) -> Tensor:
        found: Tensor = self.net((rows.to(self._device) - self._mean).div_(self._spread))
        return found

    @torch.inference_mode()
    def decode(self, others: Tensor) -> NDArray[np.float32]:
        self.net.eval()
        parts = (self(part) for part in others.split(EVALUATION_BATCH))
        return gather(parts, len(others)).numpy()

    def error(self, x: Tensor, y: Tensor, rows: Tensor) -> float:
        """Return the MSE on ``rows``, which are not taken out of ``x`` all at once."""
        parts = (torch.from_numpy(self.decode(x[part])) for part in rows.split(EVALUATION_BATCH))
        return float(F.mse_loss(gather(parts, len(rows)), y[rows]))
