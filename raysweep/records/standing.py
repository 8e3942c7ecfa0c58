"""How sure the front of a sweep is: what stays on it, what cannot be told apart, what to take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from raysweep.attacks.intervals import Interval
from raysweep.records.columns import BASELINE
from raysweep.records.objectives import Objectives, is_of_membership, objective
from raysweep.records.pairs import Pairs, groups
from raysweep.records.pareto import leading

MOST_COMPARED = 500  # trials that are drawn again in each resample

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The front of some trials beside what could be told apart.

    ``shares`` are those of the resamples in which no other trial dominates each trial of the front,
    and ``groups`` the numbers of the groups whose members cannot be told apart in a figure that
    several models stand behind. Both are empty where no examples were recorded, as for means over
    seeds. Else ``front`` has the columns ``front_share`` and, of recipes, ``front_group``.
    """

    objectives: Objectives
    front: pd.DataFrame
    n_searched: int
    pairs: Pairs | None = None
    baseline: str | None = None
    shares: dict[str, float] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)

    @property
    def leak(self) -> str | None:
        """The objective that says how much leaks: the first of membership, else the inversion."""
        names = self.objectives.names
        of_membership = filter(is_of_membership, names)
        return next((name for name in (*of_membership, "inversion_mse") if name in names), None)

    @property
    def of_recipes(self) -> bool:
        """Whether several models stand behind the figure of the leak."""
        return self.pairs is not None and self.leak is not None and self.pairs.of_recipes(self.leak)

    def near_best(self) -> pd.DataFrame:
        """Return the rows of the front whose accuracy cannot be told from the highest."""
        if self.front.empty:
            return self.front
        best = self.front.iloc[0]
        if self.pairs is None or "accuracy" not in self.pairs.figures:
            is_best = self.front["trial_id"] == best["trial_id"]
            overlaps = self.front["accuracy_high"] >= best["accuracy_low"]
            rows: pd.DataFrame = self.front[is_best | overlaps]
            return rows
        ids = self.front["trial_id"]
        gaps = [self._gap(str(best["trial_id"]), str(one), "accuracy") for one in ids]
        return self.front.loc[[gap is None or gap.low <= 0 for gap in gaps]]

    def recommended(self) -> str | None:
        """Return the trial that leaks least among :meth:`near_best`; None without a front."""
        near = self.near_best()
        if near.empty:
            return None
        if self.leak is None:
            return str(near["trial_id"].iloc[0])
        values = Objectives.of(self.leak).comparable(near)[:, 0]
        losses = -values if objective(self.leak).direction == "max" else values
        return str(near["trial_id"].iloc[int(np.nanargmin(losses))])

    @property
    def _corrected(self) -> float:
        """The level of an interval that allows for all trials that were searched."""
        return 1 - (1 - LEVEL) / max(1, self.n_searched)

    def gap_to_baseline(self, trial: str, figure: str) -> Interval | None:
        """Return how much more of a figure a trial has than the undefended model.

        The interval is corrected for the trials that were searched. None without records of both.
        """
        if self.baseline is None or self.pairs is None:
            return None
        return self._gap(trial, self.baseline, figure, level=self._corrected)

    def leaks_less(self, trial: str) -> bool:
        """Return whether a trial is told apart from the undefended model by leaking less."""
        gap = None if self.leak is None else self.gap_to_baseline(trial, self.leak)
        if gap is None or self.leak is None:
            return False
        return gap.low > 0 if objective(self.leak).direction == "max" else gap.high < 0

    def models_to_tell(self, trial: str) -> int | None:
        """Return about how many models would tell the leak of a trial from the undefended one's."""
        if self.pairs is None or self.baseline is None or self.leak is None:
            return None
        level = self._corrected
        return self.pairs.models_to_tell(trial, self.baseline, self.leak, level=level)

    def members_to_tell(self, trial: str) -> int | None:
        """Return about how large a population would tell them apart, however many models."""
        if self.pairs is None or self.baseline is None or self.leak is None:
            return None
        level = self._corrected
        return self.pairs.members_to_tell(trial, self.baseline, self.leak, level=level)

    def _gap(self, one: str, other: str, figure: str, *, level: float = LEVEL) -> Interval | None:
        assert self.pairs is not None
        known = one in self.pairs.trials and other in self.pairs.trials
        return self.pairs.difference(one, other, figure, level=level) if known else None


def standing(
    objectives: Objectives,
    trials: pd.DataFrame,
    front: pd.DataFrame,
    read_examples: Callable[[set[str]], pd.DataFrame],
    *,
    everything: bool = False,
) -> Standing:
    """Return how sure ``front`` is among ``trials``, the rows of :meth:`Results.compared`.

    ``read_examples`` returns the rows of `examples` of some trials.
    """
    bare = Standing(objectives=objectives, front=front, n_searched=len(trials))
    if front.empty or "seeds" in trials:
        return bare

    compared = _compared(trials, front, objectives, everything=everything)
    base = trials[(trials["number"] == BASELINE) & (trials["status"] == "ok")]["trial_id"].head(1)
    ids = [str(one) for one in dict.fromkeys([*compared["trial_id"], *base])]
    pairs = Pairs(ids, read_examples(set(ids)))
    if not pairs.figures:
        return bare

    on_front = [str(one) for one in front["trial_id"]]
    figures = trials.set_index("trial_id").loc[ids]
    shares = pairs.shares_on_front(
        figures, objectives, among=np.isin(ids, compared["trial_id"]), seed=0
    )
    of_trial = dict(zip(ids, shares.tolist(), strict=True))
    names = [name for name in objectives.names if pairs.of_recipes(name)]
    n_pairs = len(front) * (len(front) - 1) // 2
    level = 1 - (1 - LEVEL) / max(1, n_pairs * len(names))
    stand = Standing(
        objectives=objectives,
        front=front,
        n_searched=len(trials),
        pairs=pairs,
        baseline=next(iter(base.astype(str)), None),
        shares={one: of_trial[one] for one in on_front},
        groups=dict(groups(pairs, on_front, names, level=level)),
    )
    return dataclasses.replace(stand, front=_with_columns(stand))


def _with_columns(stand: Standing) -> pd.DataFrame:
    """Return the front with the shares and, where recipes were measured, the groups."""
    ids = stand.front["trial_id"].astype(str)
    front = stand.front.assign(front_share=ids.map(stand.shares))
    if stand.of_recipes:
        front["front_group"] = ids.map(stand.groups) + 1
    return front


def _compared(
    trials: pd.DataFrame, front: pd.DataFrame, objectives: Objectives, *, everything: bool
) -> pd.DataFrame:
    """Return the eligible trials, or the front and the best of the others where they are many."""
    eligible = trials[objectives.eligible(trials, everything=everything)]
    if len(eligible) <= MOST_COMPARED:
        return eligible
    best = leading(objectives.comparable(eligible), objectives.directions, MOST_COMPARED)
    return eligible[best | eligible["trial_id"].isin(front["trial_id"]).to_numpy()]
