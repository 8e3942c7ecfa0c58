"""The interval of the accuracy of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from raysweep.attacks.intervals import Interval, proportion


def judged_split(trials: pd.DataFrame) -> str:
    """Return the split that the accuracy of ``trials`` was measured on, `validation` or `test`."""
    return "test" if trials["accuracy_on"].eq("test").any() else "validation"


def accuracy_interval(row: Mapping[str, Any]) -> Interval | None:
    """Return the 95 % interval of the accuracy of a row of ``trials``; None if counts are missing.

    It is the recorded one where several models or seeds were measured, else the exact one.
    """
    accuracy, n = row["accuracy"], row["n_validation"]
    low, high = row.get("accuracy_low"), row.get("accuracy_high")
    if accuracy is not None and low is not None and high is not None:
        return Interval(float(accuracy), float(low), float(high))
    if accuracy is None or n is None or not (0 <= accuracy <= 1 <= n):
        return None
    return proportion(round(float(accuracy) * int(n)), int(n))
