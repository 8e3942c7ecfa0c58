"""Every error that raysweep raises on purpose, as one tree.

RaysweepError
    SpaceError          a search space, a configuration or an option breaks a rule
    DataError           a data set cannot be found, read or dealt into splits
    ModelError          a model, or a user's own attack or defence, does not do what it must
    PrivacyError        differential privacy was asked for and cannot be guaranteed
    TrainingDiverged    the loss stopped being a finite number
        NotFinite       a trained model has outputs that are not finite numbers
    MachineFailure      the machine, not the configuration, caused a trial to fail
        OutOfMemory     a trial needed more memory than the machine or its share of a GPU has
    StoreError          a results folder cannot be read, written or trusted
        StoreBusy       another sweep is writing to the results folder
    ClusterError        Ray cannot provide what the sweep asks for

The command line prints the message and exits with code 2. A message names the place, the rule,
the value and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NOTHING: Any = object()

LONGEST_VALUE = 200  # letters of a value in a message


class RaysweepError(Exception):
    """A mistake that the user can correct, explained in one message.

    ``rule`` says what must hold or what went wrong, ``got`` is the value that broke it, ``remedy``
    says what to do, and ``place`` is the key's path inside the YAML document.

    >>> print(RaysweepError("`epochs` must be > 0", got=-1, remedy="give at least 1"))
    `epochs` must be > 0, got -1; give at least 1
    """

    def __init__(
        self, rule: str, *, got: Any = _NOTHING, remedy: str = "", place: Sequence[str | int] = ()
    ) -> None:
        value = "" if got is _NOTHING else f", got {_written(got)}"
        super().__init__(f"{rule}{value}" + (f"; {remedy}" if remedy else ""))
        self.place = tuple(place)


def _written(value: Any) -> str:
    """Return a value as messages write it: whole numbers with a comma every three digits."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    text = f"{value:,}" if is_whole else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


class SpaceError(RaysweepError):
    """A search space, a configuration or an option breaks a rule."""

    def under(self, *prefix: str | int) -> SpaceError:
        """Return the same error, placed below ``prefix``."""
        return SpaceError(str(self), place=(*prefix, *self.place))


class DataError(RaysweepError):
    """A data set cannot be found, read or dealt into splits."""


class ModelError(RaysweepError):
    """A model, or a user's own attack or defence, cannot be built or does not do what it must."""


class PrivacyError(RaysweepError):
    """Differential privacy was asked for and cannot be guaranteed."""


class TrainingDiverged(RaysweepError):
    """The loss stopped being a finite number."""


class NotFinite(TrainingDiverged):
    """A trained model's outputs for some examples are not finite numbers.

    ``examples`` are the positions of these examples in the data set, and ``values`` says which
    values of the model are meant.
    """

    def __init__(
        self,
        rule: str,
        *,
        examples: Sequence[int] = (),
        values: str = "the model's outputs",
        remedy: str = "",
    ) -> None:
        super().__init__(rule, remedy=remedy)
        self.examples, self.values = tuple(examples), values


class MachineFailure(RaysweepError):
    """The machine, not the configuration, caused a trial to fail; its worker is not used again."""


class OutOfMemory(MachineFailure):
    """A trial needed more memory than its machine or its share of a GPU has."""


class StoreError(RaysweepError):
    """A results folder cannot be read, written or trusted."""


class StoreBusy(StoreError):
    """Another sweep is writing to the results folder."""


class ClusterError(RaysweepError):
    """Ray cannot provide what the sweep asks for."""
