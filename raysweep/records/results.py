"""Records -> fronts: what may stand on one, what it covers, and several sweeps as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from raysweep.errors import SpaceError, StoreError
from raysweep.records.objectives import OBJECTIVES, Objectives
from raysweep.records.store import Store

DECISIVE = ("status", "collapsed", "inversion_converged", "inversion_floor", "n_classes")
"""The columns that say whether a trial may stand on a front, beside its objectives."""


class Results:
    """The records of one sweep, or of several that may be compared, as pandas frames."""

    def __init__(self, *paths: str) -> None:
        self.stores = [Store(path) for path in paths]
        self.documents = [store.space_document() for store in self.stores]
        self.objectives, *_ = [
            _parse_objectives(store.path, document["objectives"])
            for store, document in zip(self.stores, self.documents, strict=True)
        ]
        self.axes: list[str] = [str(key) for key in self.documents[0].get("search") or {}]
        for store, document in zip(self.stores[1:], self.documents[1:], strict=True):
            _check_comparable(self.stores[0].path, self.documents[0], store.path, document)

    def _frame(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        trials: Collection[str] | None = None,
    ) -> pd.DataFrame:
        frames = [store.read(table, columns, trials) for store in self.stores]
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial, in the order of their proposals."""
        return self.rows()

    def rows(
        self, columns: Sequence[str] | None = None, *, trials: Collection[str] | None = None
    ) -> pd.DataFrame:
        """Return some columns of some trials, in the order of their proposals; all by default."""
        asked = None if columns is None else [*columns, "number"]
        frame = self._frame("trials", asked, trials)
        if len(self.stores) > 1:
            frame = frame.drop_duplicates("trial_id")
        return frame.sort_values(["number", "trial_id"], ignore_index=True)

    def compared(self, columns: Sequence[str] = ()) -> pd.DataFrame:
        """Return what decides which trials stand on a front, and some more ``columns``."""
        return self.rows([*DECISIVE, *OBJECTIVES, *columns])

    @property
    def attacks(self) -> pd.DataFrame:
        """One row a trial and attack."""
        return self.of("attacks")

    @property
    def epochs(self) -> pd.DataFrame:
        """One row a trial and epoch."""
        return self.of("epochs")

    @property
    def scores(self) -> pd.DataFrame:
        """One row a trial, attack and judged example."""
        return self.of("scores")

    @property
    def reconstructions(self) -> pd.DataFrame:
        """The first reconstructions of each trial, attack and layer, beside their originals."""
        return self.of("reconstructions")

    def of(self, table: str, trials: Collection[str] | None = None) -> pd.DataFrame:
        """Return the rows of the finished among ``trials`` (all), once.

        A dead driver may have left others.
        """
        keys = {
            "attacks": ["trial_id", "attack", "layer"],
            "epochs": ["trial_id", "epoch"],
            "scores": ["trial_id", "attack", "example"],
            "reconstructions": ["trial_id", "attack", "layer", "example"],
        }
        frame = self._frame(table, trials=trials)
        done = self._frame("trials", ["trial_id"], trials)["trial_id"]
        own = frame[frame["trial_id"].isin(done)]
        return own.drop_duplicates(subset=keys[table], ignore_index=True)

    def front(self, *, everything: bool = False) -> pd.DataFrame:
        """Return the trials that none dominates, best accuracy first; see :class:`Objectives`."""
        stand = self.objectives.front(self.compared(), everything=everything)["trial_id"]
        whole = self.rows(trials=set(stand)).set_index("trial_id", drop=False)
        return whole.loc[stand].reset_index(drop=True)


def _parse_objectives(path: str, given: Mapping[str, Any]) -> Objectives:
    try:
        return Objectives.parse(given)
    except SpaceError as error:
        raise StoreError(f"{path}/space.yaml is not a space that raysweep wrote: {error}") from None


def _check_comparable(
    first: str, one: Mapping[str, Any], second: str, other: Mapping[str, Any]
) -> None:
    """Raise :class:`StoreError` unless two sweeps measured the same thing on the same data."""
    for key in ("dataset", "attacks", "objectives", "seed"):
        if one.get(key) != other.get(key):
            told = f"`{key}` differs: {one.get(key)} in {first}, {other.get(key)} in {second}"
            raise StoreError(f"these sweeps cannot share a front, {told}")


def kept(row: Mapping[str, Any], objectives: Objectives) -> dict[str, Any]:
    """Return what a running sweep keeps of a record: what fronts, counts and studies ask for.

    A whole record takes 5 KB, these 0.6, and a driver holds thousands.
    """
    return {key: row.get(key) for key in (*_KEPT, *objectives.names)}


_KEPT = (
    "trial_id",
    "status",
    "scenario",
    "accuracy",
    "attack_auc",
    "inversion_mse",
    "inversion_floor",
    "inversion_converged",
    "collapsed",
    "n_classes",
)


def load(*paths: str) -> Results:
    """Return the results of one sweep, or of several with equal data, attacks and objectives.

    Raises:
        StoreError: no results folder, torn files, or sweeps that cannot be compared.

    """
    return Results(*paths)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as plain mappings, missing figures as None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]
