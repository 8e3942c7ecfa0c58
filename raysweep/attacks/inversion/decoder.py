"""The type of a trained decoder: a function from activations to examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """``decode`` maps activations (n, features) to flat examples (n, pixels) in [0, 1].

    ``held_out_mse`` is its error on pool examples that it was not fitted to.
    """

    decode: Callable[[Tensor], NDArray[np.float32]]
    held_out_mse: float
