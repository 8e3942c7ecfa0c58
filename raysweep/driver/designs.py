"""The samplers that learn nothing: grid, random, Sobol."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from raysweep.config import sub_seed
from raysweep.space.axes import Value, grid
from raysweep.space.space import Space

DESIGNS = ("random", "qmc", "grid")


def _design(space: Space, seed: int) -> Iterator[tuple[int, dict[str, Value]]]:
    """Yield (number, values) of the samplers that learn nothing."""
    if space.sampler.name == "grid":
        yield from enumerate(grid(space.axes), start=1)
        return
    axes = space.axes
    if not axes:
        yield 1, {}
        return
    draw = _sobol(len(axes), seed) if space.sampler.name == "qmc" else _uniform(len(axes), seed)
    finite = space.size()
    limit = None if finite is None else 1000 * finite
    for number, point in zip(itertools.count(1), draw, strict=False):
        if limit is not None and number > limit:
            return
        yield number, {key: axis.at(u) for (key, axis), u in zip(axes.items(), point, strict=True)}


def _uniform(dimensions: int, seed: int) -> Iterator[list[float]]:
    for number in itertools.count(1):
        rng = np.random.default_rng(sub_seed(seed, "random", number))
        yield rng.random(dimensions).tolist()


def _sobol(dimensions: int, seed: int) -> Iterator[list[float]]:
    from scipy.stats.qmc import Sobol

    engine = Sobol(dimensions, scramble=True, rng=sub_seed(seed, "qmc") % 2**32)
    while True:
        yield engine.random(1)[0].tolist()
