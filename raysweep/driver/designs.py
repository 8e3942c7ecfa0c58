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
        self._drawn: set[str] = set()

    def next(self, is_new: Callable[[str], bool]) -> tuple[int, TrialConfig] | None:
        """Return the next configuration that is new, with its number; None when none is left.

        A random sequence repeats itself in a finite space. When it has done so as often as the
        space has points, all of them are tried to see whether any is left. Other spaces are given
        up after :func:`most_repeats` draws of what was drawn before: their axes have no effect, or
        fewer values than a computer tells apart.
        """
        n_repeats = 0
        for n_tried, (number, point) in enumerate(self._points, start=1):
            config = self._space.config(point)
            if is_new(config.trial_id):
                self._drawn.add(config.trial_id)
                return number, config

            n_repeats = n_repeats + 1 if config.trial_id in self._drawn else 0
            self._drawn.add(config.trial_id)
            is_over = n_repeats >= most_repeats(len(self._drawn))
            if self._finite is None:
                if is_over:
                    return None
            elif n_tried % n_combinations(self._finite) == 0:
                left = first_new(self._space, combinations(self._finite), is_new)
                if left is None or is_over:
                    return None if left is None else (number, left)
        return None

    def learn(self, row: Mapping[str, Any]) -> None:
        """Do nothing: no record changes what is proposed."""

    def drop(self, trial_id: str) -> None:
        """Do nothing: no proposal is remembered."""


def most_repeats(n_known: int) -> int:
    """Return how many draws in a row may repeat known ones before no other is looked for.

    Of ``n_known`` + 1 equally likely ones, one is missed so often with probability exp(-10).
    """
    return 100 + 10 * n_known


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
