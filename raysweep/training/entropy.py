"""Random numbers from the operating system, which nothing can repeat.

No seed exists. torch's generator on a CPU would keep 32 bits of one, which can be tried out.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

DRAWS = 4
"""Normal numbers that are summed for one: rounding in a single one could betray it (Holohan and
Braghin 2021)."""


def system_uniform(n: int) -> Tensor:
    """Return ``n`` independent numbers in [0, 1), multiples of 2**-53, float64 on the CPU."""
    raw = np.frombuffer(os.urandom(8 * n), dtype=np.uint64) >> np.uint64(11)
    uniform: Tensor = torch.from_numpy(raw.astype(np.float64)) * 2.0**-53
    return uniform


def system_normal(deviation: float, shape: tuple[int, ...], **like: Any) -> Tensor:
    """Return independent normal numbers of mean 0 and this standard ``deviation``.

    They are computed in double precision (Box and Muller 1958) and converted to the device and the
    dtype that ``like`` names.
    """
    n = prod(shape)
    total = torch.zeros(n, dtype=torch.float64)
    for _ in range(DRAWS):
        radius = (-2 * (1 - system_uniform(n)).log()).sqrt()
        total += radius * (2 * torch.pi * system_uniform(n)).cos()
    normal: Tensor = (total * (deviation / DRAWS**0.5)).view(shape).to(**like)
    return normal
