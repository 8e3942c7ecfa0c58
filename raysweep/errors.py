"""Every error that raysweep raises on purpose, as one tree.

RaysweepError
    SpaceError          a search space, a configuration or an option breaks a law
    DataError           a data set cannot be found, read or dealt into splits
    ModelError          a model cannot be built, or does not do what a target must
    PrivacyError        differential privacy was asked for and cannot be guaranteed
    TrainingDiverged    the loss stopped being a finite number
    MachineFailure      a trial failed for its machine's sake: worth another try elsewhere
        OutOfMemory     it needed more memory than the machine or its share of a GPU has
    StoreError          a results folder cannot be read, written or trusted
        StoreBusy       another sweep is writing to it
    ClusterError        Ray cannot give what the sweep asks for

The command line prints the message of each and exits with code 2. A message names the place, the
law, the value and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence


class RaysweepError(Exception):
    """The root of the tree: a mistake that a user can mend, told in one message."""


class SpaceError(RaysweepError):
    """A law of a search space is broken; ``path`` is the key's place inside the YAML document."""

    def __init__(self, message: str, path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.path = tuple(path)

    def under(self, *prefix: str | int) -> SpaceError:
        """Return the same error, placed below ``prefix``."""
        return SpaceError(str(self), (*prefix, *self.path))


class DataError(RaysweepError):
    """A data set cannot be found, read or dealt into splits."""


class ModelError(RaysweepError):
    """A model cannot be built, or does not do what a target must."""


class PrivacyError(RaysweepError):
    """Differential privacy was asked for and cannot be guaranteed."""


class TrainingDiverged(RaysweepError):
    """The loss stopped being a finite number."""


class MachineFailure(RaysweepError):
    """A trial failed for its machine's sake, and the worker should not be used again."""


class OutOfMemory(MachineFailure):
    """A trial needed more memory than its machine or its share of a GPU has."""


class StoreError(RaysweepError):
    """A results folder cannot be read, written or trusted."""


class StoreBusy(StoreError):
    """Another sweep is writing to the results folder."""


class ClusterError(RaysweepError):
    """Ray cannot give what the sweep asks for."""
