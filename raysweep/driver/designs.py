"""The samplers that do not learn from records: grid, random and Sobol.

Their proposals depend only on the seed and on the number of the proposal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from raysweep.config import sub_seed
from raysweep.driver.counting import combinations, finite_values, n_combinations
from raysweep.records.trial_config import TrialConfig
from raysweep.space.axes import Value, grid
from raysweep.space.space import Space

DESIGNS = ("random", "qmc", "grid")

Points = Iterable[Mapping[str, Value]]


class Design:
    """Proposes the points of a fixed sequence, numbered on from ``n_before``."""

    def __init__(self, space: Space, seed: int, *, n_before: int) -> None:
        self._space = space
        self._points = enumerate(points(space, seed), start=1 + n_before)
        is_grid = space.sampler.name == "grid"
        self._finite = None if is_grid else finite_values(space)

    def next(self, is_new: Callable[[str], bool]) -> tuple[int, TrialConfig] | None:
        """Return the next configuration that is new, with its number; None when none is left.

        A random sequence repeats itself in a finite space. When it has done so as often as the
        space has points, all of them are tried to see whether any is left.
        """
        for n_tried, (number, point) in enumerate(self._points, start=1):
            config = self._space.config(point)
            if is_new(config.trial_id):
                return number, config
            if self._is_exhausted_after(n_tried, is_new):
                return None
        return None

    def _is_exhausted_after(self, n_repeats: int, is_new: Callable[[str], bool]) -> bool:
        """Return whether a finite space has nothing new; checked at multiples of its size only."""
        values = self._finite
        if values is None or n_repeats % n_combinations(values) != 0:
            return False
        return first_new(self._space, combinations(values), is_new) is None

    def learn(self, row: Mapping[str, Any]) -> None:
        """Do nothing: no record changes what is proposed."""

    def drop(self, trial_id: str) -> None:
        """Do nothing: no proposal is remembered."""


def first_new(space: Space, points: Points, is_new: Callable[[str], bool]) -> TrialConfig | None:
    """Return the first configuration at ``points`` that is new, None when there is none."""
    configs = (space.config(point) for point in points)
    return next((config for config in configs if is_new(config.trial_id)), None)


def points(space: Space, seed: int) -> Iterator[dict[str, Value]]:
    """Yield the points of the grid, or endless draws; those of a learning sampler are random."""
    axes = space.axes
    if space.sampler.name == "grid" or not axes:
        yield from grid(axes)
        return
    draws = _sobol(len(axes), seed) if space.sampler.name == "qmc" else _uniform(len(axes), seed)
    for draw in draws:
        yield {key: axis.value_at(u) for (key, axis), u in zip(axes.items(), draw, strict=True)}


def _uniform(dimensions: int, seed: int) -> Iterator[list[float]]:
    for number in itertools.count(1):
        rng = np.random.default_rng(sub_seed(seed, "random", number))
        yield rng.random(dimensions).tolist()


def _sobol(dimensions: int, seed: int) -> Iterator[list[float]]:
    from scipy.stats.qmc import Sobol

    engine = Sobol(dimensions, scramble=True, rng=sub_seed(seed, "qmc") % 2**32)
    while True:
        yield engine.random(1)[0].tolist()
