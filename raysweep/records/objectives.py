"""The objectives of a sweep: directions, dominance, eligible trials, front and hypervolume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError
from raysweep.records.pareto import front_mask, hypervolume

Direction = Literal["max", "min"]

OBJECTIVES: dict[str, Direction] = {
    "accuracy": "max",
    "attack_auc": "min",
    "inversion_mse": "max",
    "epsilon": "min",
    "train_seconds": "min",
}
"""Every objective there is, with its direction."""

REQUIREMENTS = {"collapsed": False, "inversion_converged": True}
"""Column -> the value that a finished trial must have there to stand on a front."""


@dataclass(frozen=True)
class Objectives:
    """The objectives that a sweep compares its trials by, in the order of its search space.

    The methods take the ``trials`` table of a sweep, see :attr:`raysweep.Results.trials`.

    >>> objectives = Objectives.parse({"accuracy": "max", "attack_auc": "min"})
    >>> objectives == Objectives.of("accuracy", "attack_auc")
    True
    >>> trials = pd.DataFrame({
    ...     "trial_id": ["a", "b", "c"],
    ...     "status": "ok",
    ...     "collapsed": False,
    ...     "n_classes": 10,
    ...     "accuracy": [0.9, 0.6, 0.5],
    ...     "attack_auc": [0.75, 0.5, 0.75],
    ... })
    >>> objectives.front(trials)["trial_id"].tolist()
    ['a', 'b']
    >>> objectives.reference_point(trials)
    {'accuracy': 0.1, 'attack_auc': 1.0}
    >>> round(objectives.hypervolume(trials), 6)
    0.325
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, *names: str) -> Objectives:
        """Return the objectives with these names.

        Raises:
            SpaceError: a name is not that of an objective.

        """
        for name in names:
            if name not in OBJECTIVES:
                raise SpaceError(f"unknown objective {name!r}{suggestion(name, OBJECTIVES)}")
        return cls(names)

    @classmethod
    def parse(cls, document: object) -> Objectives:
        """Return the objectives that a mapping from name to direction describes.

        Raises:
            SpaceError: ``document`` is not a mapping, a name is unknown or a direction is wrong.

        """
        if not isinstance(document, Mapping) or not document:
            raise SpaceError(
                "`objectives` must be a mapping such as {accuracy: max}", place=["objectives"]
            )
        for name, direction in document.items():
            place = ("objectives", name)
            try:
                cls.of(str(name))
            except SpaceError as error:
                raise error.under(*place) from None
            if direction != OBJECTIVES[name]:
                rule = f"`{name}` must be `{OBJECTIVES[name]}`"
                raise SpaceError(rule, got=direction, place=place)
        return cls(tuple(document))

    def to_plain(self) -> dict[str, Direction]:
        """Return name -> direction, the form of a search space in YAML."""
        return {name: OBJECTIVES[name] for name in self.names}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The direction of each objective, in the order of the names."""
        return tuple(OBJECTIVES[name] for name in self.names)

    @property
    def requirements(self) -> dict[str, bool]:
        """Column -> the truth value that a finished trial must have there to stand on a front.

        Whether the inversion converged counts only if its error is an objective.
        """
        skipped = set() if "inversion_mse" in self.names else {"inversion_converged"}
        return {key: value for key, value in REQUIREMENTS.items() if key not in skipped}

    def comparable(self, figures: pd.DataFrame | Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the objectives as dominance compares them, NaN where a figure is missing.

        The result is (trials, objectives) for a table and (objectives,) for one record. A table of
        one row would take a thousand times as long as the record.

        An AUC below 0.5 counts as 0.5, because noise is not privacy. A reconstruction worse than
        the mean image counts as the mean image.
        """
        columns = []
        for name in self.names:
            values = np.asarray(figures[name], dtype=np.float64)
            if name == "attack_auc":
                values = np.maximum(values, 0.5)
            if name == "inversion_mse":
                floor = np.asarray(figures.get("inversion_floor"), dtype=np.float64)
                values = np.minimum(values, np.where(np.isnan(floor), np.inf, floor))
            columns.append(values)
        return np.stack(columns, axis=-1)

    def eligible(self, trials: pd.DataFrame, *, everything: bool = False) -> pd.Series[bool]:
        """Return which trials may stand on a front: finished, not collapsed, attacks converged.

        With ``everything`` each finished trial may.
        """
        fit = trials["status"] == "ok"
        for column, value in self.requirements.items() if not everything else ():
            fit &= trials[column].eq(value)  # a missing value equals neither truth value
        return fit

    def front(self, trials: pd.DataFrame, *, everything: bool = False) -> pd.DataFrame:
        """Return the rows of ``trials`` that no eligible row dominates, best accuracy first.

        With ``everything`` collapsed models and attacks that did not converge may stand on it too.
        """
        values = self.comparable(trials)
        fit = self.eligible(trials, everything=everything)
        values[~fit.to_numpy(dtype=bool)] = np.nan
        mask = front_mask(values, self.directions)

        by = "accuracy" if "accuracy" in trials else self.names[0]
        return trials[mask].sort_values(by, ascending=False, ignore_index=True, kind="stable")

    def reference_point(self, trials: pd.DataFrame) -> dict[str, float]:
        """Return the worst corner for the hypervolume: accuracy 1 / classes, AUC 1, MSE 0.

        Epsilon and seconds are measured from the worst finished trial.
        """
        classes = trials["n_classes"].dropna()
        fixed = {
            "accuracy": 1 / float(classes.iloc[0]) if len(classes) else 0.0,
            "attack_auc": 1.0,
            "inversion_mse": 0.0,
        }
        finished = trials[trials["status"] == "ok"]
        worst = finished[list(self.names)].replace(np.inf, np.nan).max()
        return {name: fixed.get(name, float(worst[name])) for name in self.names}

    def hypervolume(self, trials: pd.DataFrame) -> float:
        """Return the volume that eligible trials dominate, up to :meth:`reference_point`."""
        fit = trials[self.eligible(trials)]
        if fit.empty:
            return 0.0
        corner = list(self.reference_point(trials).values())
        return hypervolume(self.comparable(fit), corner, self.directions)
