"""The objectives of a sweep: directions, dominance, eligible trials, front and hypervolume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError
from raysweep.records.conditions import Condition, column_name
from raysweep.records.pareto import front_mask, hypervolume
from raysweep.records.priors import is_at_prior, prior_of

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["max", "min"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A figure that trials can be compared by.

    ``chance`` is what it is where nothing leaks: a figure beyond it is noise, and is compared as
    ``chance``. ``worst`` is its end of the reference point of the hypervolume. Where that is None,
    the worst finished trial sets it.
    """

    direction: Direction
    label: str
    description: str
    chance: float | None = None
    worst: float | None = None


OBJECTIVES = {
    "accuracy": Objective(
        direction="max",
        label="accuracy",
        description="accuracy on the validation examples",
        worst=0.0,
    ),
    "attack_auc": Objective(
        direction="min",
        label="attack AUC",
        description="AUC of the membership attack that counts; below 0.5 it is compared as 0.5",
        chance=0.5,
        worst=1.0,
    ),
    **{
        f"tpr_at_fpr_{key}": Objective(
            direction="min",
            label=f"TPR at {percent} FPR",
            description=f"members found while {percent} of nonmembers are called members",
            chance=rate,
            worst=1.0,
        )
        for key, percent, rate in (
            ("0_001", "0.1 %", 0.001),
            ("0_01", "1 %", 0.01),
            ("0_1", "10 %", 0.1),
        )
    },
    "advantage": Objective(
        direction="min",
        label="advantage",
        description="true- less false-positive rate of an attack at its own threshold",
        chance=0.0,
        worst=1.0,
    ),
    "ppv": Objective(
        direction="min",
        label="PPV",
        description="members among those called members, at the first of `attacks.prior`",
        worst=1.0,
    ),
    "tail": Objective(
        direction="min",
        label="tail",
        description="nonmembers whose loss is beyond that of 98 % of the members",
        chance=0.02,
        worst=1.0,
    ),
    "always_found": Objective(
        direction="min",
        label="always found",
        description="examples whose membership every model gives away; needs `measure`",
        chance=0.0,
        worst=1.0,
    ),
    "inversion_mse": Objective(
        direction="max",
        label="inversion MSE",
        description="mean squared error of rebuilt members; at most the mean input's",
        worst=0.0,
    ),
    "epsilon": Objective(
        direction="min",
        label="epsilon spent",
        description="epsilon that the training spent",
    ),
    "train_seconds": Objective(
        direction="min",
        label="training time in seconds",
        description="duration of the training",
    ),
}
"""Every objective but the PPV at each of several priors, see :func:`objective`."""

OF_MEMBERSHIP = (
    *("attack_auc", "tpr_at_fpr_0_001", "tpr_at_fpr_0_01", "tpr_at_fpr_0_1"),
    *("advantage", "ppv", "tail", "always_found"),
)
"""The objectives that say how well members are recognised."""


def is_objective(name: str) -> bool:
    """Return whether there is an objective with a name."""
    return name in OBJECTIVES or prior_of(name) is not None


def objective(name: str) -> Objective:
    """Return the objective with a name, such as `ppv_at_prior_0_1`."""
    prior = prior_of(name)
    if prior is None:
        return OBJECTIVES[name]
    return Objective(
        direction="min",
        label=f"PPV at a prior of {100 * prior:g} %",
        description=f"members among those called members, where {100 * prior:g} % are members",
        chance=prior,
        worst=1.0,
    )


def is_of_membership(name: str) -> bool:
    """Return whether a figure says how well members are recognised."""
    return name in OF_MEMBERSHIP or is_at_prior(name)


REQUIREMENTS = {"collapsed": False, "inversion_converged": True}
"""Column -> the value that a finished trial must have there to stand on a front."""


@dataclass(frozen=True)
class Objectives:
    """The objectives that a sweep compares its trials by, in the order of its search space.

    The methods take the ``trials`` table of a sweep, see :attr:`raysweep.Results.trials`.

    >>> objectives = Objectives.parse({"accuracy": "max", "attack_auc": "min"})
    >>> objectives == Objectives.of("accuracy", "attack_auc")
    True
    >>> import pandas as pd
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
    constraints: tuple[Condition, ...] = ()
    """What a trial must meet to stand on a front, such as a floor of accuracy."""

    @classmethod
    def of(cls, *names: str) -> Objectives:
        """Return the objectives with these names.

        Raises:
            SpaceError: a name is not that of an objective.

        """
        for name in map(column_name, names):
            if not is_objective(name):
                raise SpaceError(f"unknown objective {name!r}{suggestion(name, OBJECTIVES)}")
        return cls(tuple(map(column_name, names)))

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
            wanted = objective(column_name(name)).direction
            if direction != wanted:
                raise SpaceError(f"`{name}` must be `{wanted}`", got=direction, place=place)
        return cls.of(*document)

    def to_plain(self) -> dict[str, Direction]:
        """Return name -> direction, the form of a search space in YAML."""
        return {name: objective(name).direction for name in self.names}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The direction of each objective, in the order of the names."""
        return tuple(objective(name).direction for name in self.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of ``trials`` that the objectives and the constraints need."""
        return (*self.names, *(condition.column for condition in self.constraints))

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

        An attack that finds less than chance counts as chance, because noise is not privacy. A
        reconstruction worse than the mean image counts as the mean image.
        """
        columns = []
        for name in self.names:
            values, chance = np.asarray(figures[name], dtype=np.float64), objective(name).chance
            if chance is not None:
                values = np.maximum(values, chance)
            if name == "inversion_mse":
                floor = np.asarray(figures.get("inversion_floor"), dtype=np.float64)
                values = np.minimum(values, np.where(np.isnan(floor), np.inf, floor))
            columns.append(values)
        return np.stack(columns, axis=-1)

    def eligible(self, trials: pd.DataFrame, *, everything: bool = False) -> pd.Series[bool]:
        """Return which trials may stand on a front: finished, not collapsed, attacks converged.

        With ``everything`` each finished trial may that meets the constraints.
        """
        fit = trials["status"] == "ok"
        for condition in self.constraints:
            fit &= condition.fits(trials)
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
        """Return the worst corner for the hypervolume: accuracy 1 / classes, rates 1, MSE 0.

        Epsilon and seconds are measured from the worst finished trial.
        """
        classes = trials["n_classes"].dropna()
        finished = trials[trials["status"] == "ok"]
        seen = finished[list(self.names)].replace(np.inf, np.nan).max()
        corner = {
            name: float(seen[name]) if worst is None else worst
            for name in self.names
            for worst in [objective(name).worst]
        }
        if "accuracy" in corner and len(classes):
            corner["accuracy"] = 1 / float(classes.iloc[0])
        return corner

    def hypervolume(self, trials: pd.DataFrame) -> float:
        """Return the volume that eligible trials dominate, up to :meth:`reference_point`."""
        fit = trials[self.eligible(trials)]
        if fit.empty:
            return 0.0
        corner = list(self.reference_point(trials).values())
        return hypervolume(self.comparable(fit), corner, self.directions)
