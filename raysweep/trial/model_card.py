"""The card of a saved model: what it is, what was measured, and how raw features become inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raysweep.data import Splits
from raysweep.data.scaling import Scaling
from raysweep.errors import DataError, StoreError

RULE = "(x - low) / max(high - low, 1e-12), clipped to [0, 1]"


class ModelCard(Mapping[str, Any]):
    """The card of a saved model, a mapping of what ``model.json`` holds.

    Its keys are ``trial_id``, ``saved_at``, ``weights``, ``inputs``, ``outputs``, ``figures``,
    ``attacks``, ``privacy``, ``ledger``, ``data``, ``configuration``, ``versions`` and
    ``device``.
    """

    def __init__(self, content: Any) -> None:
        self._content = content
        try:
            inputs, outputs = content["inputs"], content["outputs"]
            self.shape = tuple(map(int, inputs["shape"]))
            self._scaling = Scaling(
                low=inputs["low"], high=inputs["high"], names=tuple(inputs["names"])
            )
            self.n_classes = int(outputs["n_classes"])
            self.trial_id = str(content["trial_id"])
            self.sha256 = str(content["weights"]["sha256"])
            self.configuration = dict(content["configuration"])
            for key in ("figures", "privacy"):
                if not isinstance(content[key], Mapping):
                    raise TypeError(f"{key!r} is no mapping")
            if min((*self.shape, self.n_classes)) < 1:
                raise ValueError(f"shape {self.shape}, {self.n_classes} classes")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"this is no card of a model ({error!r})") from None

    def scale(self, features: Any) -> Tensor:
        """Return raw features as the model's inputs: float32 (n, *shape) in [0, 1].

        ``features`` are an array (n, *shape), images as (channels, height, width), or a pandas
        frame with the columns that the model was trained on, in any order.

        Raises:
            DataError: another shape, a column is missing, or a value is not a finite number.

        """
        names, columns = self._scaling.names, getattr(features, "columns", None)
        if names and columns is not None:
            missing = [name for name in names if name not in columns]
            if missing:
                raise DataError(f"the features have no column {', '.join(map(repr, missing))}")
            features = features[list(names)]

        x = np.asarray(features)
        if x.dtype.kind not in "buif" or x.shape[1:] != self.shape or x.ndim == 0:
            expected = ", ".join(("n", *map(str, self.shape)))
            raise DataError(
                f"features must be numbers of shape ({expected}), got {x.dtype} of {x.shape}"
            )
        if not np.isfinite(x).all():
            raise DataError("features must be finite numbers", remedy="fill or leave out such rows")
        return torch.from_numpy(self._scaling.apply(x))

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"ModelCard({self._content!r})"


def scaling_of(splits: Splits) -> dict[str, Any]:
    """Return a card's entries on how raw features become inputs.

    Splits that do not say what scaled them are given as they are stored, see ``Split.top``.
    """
    scaling = splits.scaling or Scaling(low=0, high=splits.members.top)
    low, high = np.asarray(scaling.low).tolist(), np.asarray(scaling.high).tolist()
    return {"scaling": RULE, "low": low, "high": high, "names": scaling.names}
