"""Some classes of the handwritten digits: the data of own_data.yaml."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits


def load(classes: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the features and the labels of the digits in ``classes``.

    raysweep calls this function once in each process, with the keys of the space's ``dataset``
    block that are not sizes of splits. Features are (n, channels, height, width) images or (n, d)
    rows of numbers, scaled to [0, 1] here. Labels are whole numbers from 0 on.

    Return a third array, ``groups`` (n,), when several examples belong to one person: a group is
    then never dealt to two splits.
    """
    digits = load_digits()
    chosen = np.isin(digits.target, classes)

    features = digits.images[chosen][:, None].astype(np.float32) / 16  # pixels are 0 to 16
    labels = np.searchsorted(sorted(classes), digits.target[chosen])
    return features, labels
