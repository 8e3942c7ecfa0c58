"""Images of a trial, and the share of people whom they show, for the figures of faces."""

from __future__ import annotations

import comparison
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raysweep.records.results import Results

RECOGNISED = "recognition_rate_mi_face"
FORMS = {"raw": "as published (raw pixels, stretched)", "clip": "pixels kept in [0, 1]"}


def face_table(results: Results) -> pd.DataFrame:
    """Return the finished trials with ``pixels``, and rates in %."""
    table = comparison.trial_table(results)
    table["pixels"] = table["config"].str.extract(r'"pixels":"(\w+)"')[0]
    table[["train_accuracy", "accuracy", RECOGNISED]] *= 100
    return table


def seed_means(table: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Return means over seeds: accuracies and the share of people recognised, %."""
    figures = ["epsilon", "train_accuracy", "accuracy", RECOGNISED, "converged_share_mi_face"]
    return comparison.summary(table, keys, [*figures, "mse_mi_face", "ssim_mi_face"])


def original_images(results: Results, people: list[int]) -> list[NDArray[np.float32]]:
    """Return a real image of each of ``people``, (height, width)."""
    faces = results.reconstructions.drop_duplicates("label").set_index("label")
    return [_image(faces["original"][person], faces["shape"][person]) for person in people]


def rebuilt_images(results: Results, trial_id: str, people: list[int]) -> list[NDArray[np.float32]]:
    """Return the image that MI-Face rebuilt for each of ``people``, (height, width)."""
    faces = results.reconstructions.query("attack == 'mi_face' and trial_id == @trial_id")
    faces = faces.set_index("label")
    return [_image(faces["image"][person], faces["shape"][person]) for person in people]


def smoothness(image: NDArray[np.float32]) -> float:
    """Return the correlation of each pixel with its right neighbour.

    Near 1 in a photograph and in a blurred one, 0 in white noise.
    """
    return float(np.corrcoef(image[:, :-1].ravel(), image[:, 1:].ravel())[0, 1])


def _image(pixels: NDArray[np.float32], shape: NDArray[np.int64]) -> NDArray[np.float32]:
    _, height, width = (int(n) for n in shape)
    return pixels.reshape(height, width)
