"""The convolutional decoder of Giammarresi 2021: a dense layer, then convolutions."""

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
from raysweep.training.optimizers import make_adam
from raysweep.training.recipe import EVALUATION_BATCH
from raysweep.training.target import gather

BATCH = 64

LEARNING_RATE = 2e-3


def network(n_features: int, shape: tuple[int, ...]) -> nn.Module:
    """Return a module from (n, n_features) to (n, prod(shape)) in [0, 1].

    Images are upsampled twice between convolutions. For other examples all layers are dense.
    """
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


def fit_convolutional(
    activations: Tensor,
    images: NDArray[np.float32],
    held_out: NDArray[np.bool_],
    shape: tuple[int, ...],
    *,
    epochs: int,
    seed: int,
    device: torch.device,
) -> Decoder:
    """Return the decoder trained with MSE, at its best epoch on the ``held_out`` rows.

    ``activations`` (n, features), ``images`` (n, prod(shape)) in [0, 1].
    """
    decoder = _StandardisingNetwork(activations, shape, seed=seed, device=device)
    x, y = activations, torch.from_numpy(images)
    optimizer = make_adam(decoder.net.parameters(), LEARNING_RATE)
    order = torch.Generator().manual_seed(sub_seed(seed, "batches"))
    fitted_rows = torch.from_numpy(np.flatnonzero(~held_out))
    held_out_rows = torch.from_numpy(np.flatnonzero(held_out))

    best, best_state = inf, decoder.net.state_dict()
    for _ in range(epochs):
        decoder.net.train()
        shuffled = fitted_rows[torch.randperm(len(fitted_rows), generator=order)]
        for batch in shuffled.split(BATCH):
            if len(batch) < 2:  # BatchNorm needs two
                continue
            optimizer.zero_grad()
            F.mse_loss(decoder(x[batch]), y[batch].to(device)).backward()
            optimizer.step()

        error = decoder.error(x, y, held_out_rows)
        if error < best:
            best, best_state = error, copy.deepcopy(decoder.net.state_dict())

    decoder.net.load_state_dict(best_state)
    return Decoder(decode=decoder.decode, held_out_mse=best)


class _StandardisingNetwork:
    """The network on standardised activations: mean 0 and variance 1.

    Activations are standardised a batch at a time, because a copy of all of them would double the
    memory of a layer.
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
        decoded: Tensor = self.net((rows.to(self._device) - self._mean).div_(self._spread))
        return decoded

    @torch.inference_mode()
    def decode(self, rows: Tensor) -> NDArray[np.float32]:
        """Return the examples decoded from activations (n, features), flat, in [0, 1]."""
        self.net.eval()
        parts = (self(part) for part in rows.split(EVALUATION_BATCH))
        return gather(parts, len(rows)).numpy()

    def error(self, x: Tensor, y: Tensor, rows: Tensor) -> float:
        """Return the MSE on ``rows``; they are copied from ``x`` a batch at a time."""
        parts = (torch.from_numpy(self.decode(x[part])) for part in rows.split(EVALUATION_BATCH))
        return float(F.mse_loss(gather(parts, len(rows)), y[rows]))
