"""The thesis' adversary: flatten, dense, BatchNorm, LeakyReLU, reshape, then convolutions."""

from __future__ import annotations

import copy
from math import ceil, prod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysweep.config import sub_seed
from raysweep.decoders import Decoder
from raysweep.train import EVALUATION_BATCH, isolated_rng

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
    mean, spread = activations.mean(dim=0), activations.std(dim=0).clamp_min(1e-6)
    fitted = torch.from_numpy(~held_out)
    x = ((activations - mean) / spread).to(device)
    y = torch.from_numpy(images).to(device)
    with isolated_rng(seed, device):
        net = network(x.shape[1], shape).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    order = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    rows = fitted.nonzero().flatten()
    best, kept = _error(net, x[~fitted], y[~fitted]), copy.deepcopy(net.state_dict())
    for _ in range(epochs):
        net.train()
        for batch in rows[torch.randperm(len(rows), generator=order)].split(BATCH):
            if len(batch) < 2:  # BatchNorm needs two
                continue
            optimizer.zero_grad()
            F.mse_loss(net(x[batch]), y[batch]).backward()
            optimizer.step()
        error = _error(net, x[~fitted], y[~fitted])
        if error < best:
            best, kept = error, copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)

    def decode(others: Tensor) -> NDArray[np.float32]:
        return _decoded(net, ((others - mean) / spread).to(device)).cpu().numpy()

    return Decoder(decode=decode, held_out_mse=best)


@torch.inference_mode()
def _decoded(net: nn.Module, x: Tensor) -> Tensor:
    net.eval()
    return torch.cat([net(part) for part in x.split(EVALUATION_BATCH)])


def _error(net: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(F.mse_loss(_decoded(net, x), y))
