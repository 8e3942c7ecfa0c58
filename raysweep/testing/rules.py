"""What the contracts have in common: the error, the data and the training of a small target."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

from raysweep import data
from raysweep.config import Training
from raysweep.data import Splits
from raysweep.errors import RaysweepError
from raysweep.models import MODELS
from raysweep.training.recipe import Recipe, plain_recipe
from raysweep.training.target import TrainedTarget

CPU = torch.device("cpu")

DIGITS = {"name": "digits", "members": 120, "nonmembers": 60, "pool": 200, "reference": 60}
DIGITS |= {"validation": 100, "test": 100}


class BrokenRule(AssertionError):
    """A class or a function breaks a rule of its contract."""


def demand(holds: Any, name: str, rule: str, found: Any) -> None:
    """Raise :class:`BrokenRule` unless ``holds``."""
    if not holds:
        raise BrokenRule(f"{name}: {rule}; found: {found}")


@contextlib.contextmanager
def demanding(name: str, rule: str) -> Iterator[None]:
    """Raise :class:`BrokenRule` for an error in the code that is checked."""
    try:
        yield
    except BrokenRule:
        raise
    except RaysweepError as error:
        raise BrokenRule(f"{name}: {rule}; found: {error}") from None
    except Exception as error:
        raise BrokenRule(f"{name}: {rule}; found: {type(error).__name__}: {error}") from error


@functools.cache
def digits() -> Splits:
    """Return the splits that the contracts are checked on."""
    return data.load(DIGITS, seed=0)


def mlp(hidden: int, activation: str, **training: Any) -> Recipe:
    """Return the plain recipe of a network with one hidden layer, ``dense1``."""
    build = MODELS["mlp"](hidden=(hidden,), activation=activation).build
    return plain_recipe(build, Training(batch_size=16, learning_rate=1e-2, **training))


def parameters(target: TrainedTarget) -> torch.Tensor:
    """Return a copy of all weights of a target, flat."""
    return torch.cat([p.detach().flatten().clone() for p in target.model.parameters()])
