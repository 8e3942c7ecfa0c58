"""Decoders: what an inverter learns on its own data, from activations to examples.

Each module has one function ``fit`` that returns a :class:`Decoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """``decode`` maps activations (n, features) to flat examples (n, pixels) in [0, 1].

    ``held_out_mse`` was measured on pool data that the decoder was not fitted on.
    """

    decode: Callable[[Tensor], NDArray[np.float32]]
    held_out_mse: float
