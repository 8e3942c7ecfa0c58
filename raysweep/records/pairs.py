"""Compare trials of a sweep pair by pair: what can be told apart, and how often each is best.

The trials of a sweep are measured on the same examples and, with `measure`, on the same halves of
them. So the difference of two trials is known far better than either figure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from raysweep.attacks.intervals import Interval, normal_quantile
from raysweep.records.objectives import Objectives
from raysweep.records.pareto import front_mask

Floats = NDArray[np.float64]

DRAWS = 400  # resamples of models and examples

MOST_VALUES = 400_000  # trials times resamples that are compared


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of some trials: what each pair of models, and each example, has in it.

    ``of_models`` (trials, pairs) has one column where a single model was measured, and
    ``of_examples`` is (trials, n). The means of both over their columns are the figures.
    """

    of_models: Floats
    of_examples: Floats

    @property
    def n_pairs(self) -> int:
        """How many pairs of models there are; 1 is a single model."""
        return int(self.of_models.shape[1])


class Pairs:
    """The figures of the trials of one sweep, to be compared.

    ``trials`` are the ids, and ``examples`` the table of that name. A figure that was not measured
    on the same examples in every trial is left out.
    """

    def __init__(self, trials: Sequence[str], examples: pd.DataFrame) -> None:
        self.trials = list(trials)
        self._row = {trial_id: i for i, trial_id in enumerate(self.trials)}
        self.figures = dict(_figures(self.trials, examples))

    def of_recipes(self, figure: str) -> bool:
        """Return whether several models stand behind a figure, so that seeds are averaged out."""
        return figure in self.figures and self.figures[figure].n_pairs > 1

    def difference(
        self, one: str, other: str, figure: str, *, level: float = 0.95
    ) -> Interval | None:
        """Return how much more trial ``one`` has of a figure than ``other``, with its interval.

        The interval is over pairs of models and examples, or over examples alone for single models.
        It is Student's, with Satterthwaite's degrees of freedom (1946). None where the figure was
        not measured on the same examples.
        """
        if figure not in self.figures:
            return None
        values, row = self.figures[figure], self._row
        gap, variance, freedom = _difference(values, row[one], row[other])
        reach = float(special.stdtrit(freedom, (1 + level) / 2)) * np.sqrt(variance)
        return Interval(gap, float(gap - reach), float(gap + reach))

    def models_to_tell(self, one: str, other: str, figure: str, *, level: float) -> int | None:
        """Return about how many models would tell two trials apart, None if none would.

        More models make the noise of the models smaller, and that of the examples not.
        """
        if not self.of_recipes(figure):
            return None
        values, row = self.figures[figure], self._row
        by_model, by_example = _rows_of(values, row[one], row[other])
        gap = abs(float(by_example.mean()))
        left = (gap / normal_quantile(level)) ** 2 - by_example.var(ddof=1) / len(by_example)
        needed = by_model.var(ddof=1) / left if left > 0 else np.inf
        return 2 * int(np.ceil(needed)) if np.isfinite(needed) else None

    def members_to_tell(self, one: str, other: str, figure: str, *, level: float) -> int | None:
        """Return about how many examples would tell two trials apart; None where they are equal."""
        if figure not in self.figures:
            return None
        _, by_example = _rows_of(self.figures[figure], self._row[one], self._row[other])
        gap = abs(float(by_example.mean()))
        if not gap:
            return None
        return int(np.ceil(by_example.var(ddof=1) * (normal_quantile(level) / gap) ** 2))

    def shares_on_front(
        self,
        figures: pd.DataFrame,
        objectives: Objectives,
        *,
        among: NDArray[np.bool_],
        seed: int,
    ) -> Floats:
        """Return the share of resamples in which no other trial dominates each, (trials,).

        ``figures`` holds the objectives of the trials, in their order, and ``among`` (trials,) says
        which may stand on a front. Each resample draws the pairs of models and the examples again,
        the same ones for all trials. An objective that was not measured on examples, such as
        epsilon, stays as it is.
        """
        n = len(self.trials)
        draws = max(50, min(DRAWS, MOST_VALUES // max(1, n)))
        rng, on_front = np.random.default_rng(seed), np.zeros(n)
        names = [name for name in objectives.names if name in self.figures]
        shifts = {name: _shifts(self.figures[name], draws, rng) for name in names}
        columns = dict.fromkeys([*objectives.names, "inversion_floor"])
        values = {name: figures[name].to_numpy(dtype=float) for name in columns}
        for draw in range(draws):
            moved = {k: v + shifts[k][draw] if k in shifts else v for k, v in values.items()}
            compared = np.where(among[:, None], objectives.comparable(moved), np.nan)
            on_front += front_mask(compared, objectives.directions)
        return on_front / draws


def _figures(trials: Sequence[str], examples: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Yield each figure that all ``trials`` have, measured on the same examples."""
    for name, rows in examples.groupby("figure"):
        by_trial = rows.drop_duplicates("trial_id").set_index("trial_id")
        if not set(trials) <= set(by_trial.index):
            continue
        chosen = by_trial.loc[list(trials)]
        first = chosen["example"].iloc[0]
        is_same = all(np.array_equal(first, ids) for ids in chosen["example"])
        if is_same and chosen["of_models"].map(len).nunique() == 1:
            yield (
                str(name),
                Figure(
                    of_models=np.stack(chosen["of_models"].tolist()).astype(float),
                    of_examples=np.stack(chosen["of_examples"].tolist()).astype(float),
                ),
            )


def _rows_of(values: Figure, one: int, other: int) -> tuple[Floats, Floats]:
    """Return the differences of two trials by pair of models, and by example."""
    return (
        values.of_models[one] - values.of_models[other],
        values.of_examples[one] - values.of_examples[other],
    )


def _difference(values: Figure, one: int, other: int) -> tuple[float, float, float]:
    """Return the difference of two trials, its variance and the degrees of freedom.

    The variances of the means over models and over examples both hold the noise of a single
    decision, which is not taken off: the interval is a little wide rather than too narrow.
    """
    by_model, by_example = _rows_of(values, one, other)
    n, k = len(by_example), len(by_model)
    of_examples = float(by_example.var(ddof=1)) / n if n > 1 else np.inf
    of_models = float(by_model.var(ddof=1)) / k if k > 1 else 0.0
    split = of_examples**2 / max(1, n - 1) + (of_models**2 / (k - 1) if k > 1 else 0.0)
    variance = of_examples + of_models
    freedom = variance**2 / split if split > 0 else float(max(1, n - 1))
    return float(by_model.mean()), variance, freedom


def _shifts(values: Figure, draws: int, rng: np.random.Generator) -> Floats:
    """Return how far resampling moves the figure of each trial, (draws, trials)."""
    shifts = np.zeros((draws, len(values.of_models)))
    for parts in (values.of_models, values.of_examples):
        n = parts.shape[1]
        if n == 1:
            continue
        centred = parts - parts.mean(axis=1, keepdims=True)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
        shifts += weights @ centred.T
    return shifts


def groups(
    pairs: Pairs, trials: Sequence[str], objectives: Sequence[str], *, level: float
) -> Mapping[str, int]:
    """Return trial -> number of a group whose members cannot be told apart in any objective.

    A trial joins the first group of which it cannot be told from any member, in the order given.
    """
    found: list[list[str]] = []
    for trial in trials:
        for group in found:
            if not any(told_apart(pairs, trial, other, objectives, level) for other in group):
                group.append(trial)
                break
        else:
            found.append([trial])
    return {trial: number for number, group in enumerate(found) for trial in group}


def told_apart(
    pairs: Pairs, one: str, other: str, objectives: Collection[str], level: float
) -> bool:
    """Return whether the interval of a difference excludes 0 in at least one objective."""
    gaps = (pairs.difference(one, other, name, level=level) for name in objectives)
    return any(gap is not None and (gap.low > 0 or gap.high < 0) for gap in gaps)
