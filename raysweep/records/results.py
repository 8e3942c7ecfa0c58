"""Load the records of one sweep, or of several that may be compared, and find their front."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raysweep.config.plain_values import flatten
from raysweep.errors import SpaceError, StoreError
from raysweep.records.conditions import Condition, meeting, parse_conditions, parse_constraints
from raysweep.records.data_hashes import refuse_other_data
from raysweep.records.folder import SPACE
from raysweep.records.guarantee import is_private_choice
from raysweep.records.objectives import OBJECTIVES, REQUIREMENTS, Objectives
from raysweep.records.priors import stated_columns
from raysweep.records.seeds import average_seeds
from raysweep.records.standing import Standing, standing
from raysweep.records.store import Store
from raysweep.records.trial_config import recipe_of

DECISIVE = ("status", *REQUIREMENTS, "inversion_floor", "n_classes")
"""The columns that a front and its hypervolume depend on, besides the objectives."""


class Results:
    """The records of one sweep, or of several that may be compared, as pandas frames."""

    def __init__(self, *paths: str) -> None:
        self.stores = [Store(path) for path in paths]
        self.documents = [store.space_document() for store in self.stores]
        self.objectives, *_ = [
            _parse_objectives(store.path, document)
            for store, document in zip(self.stores, self.documents, strict=True)
        ]
        keys = (str(key) for document in self.documents for key in document.get("search") or {})
        seeds = ["seed"] if len({document.get("seed") for document in self.documents}) > 1 else []
        self.axes: list[str] = list(dict.fromkeys([*keys, *seeds]))
        self.at_priors: list[str] = stated_columns(*self.documents)
        if len(paths) > 1 and any(map(is_private_choice, self.documents)):
            raise StoreError(
                "a private choice is released alone: to compare it with other sweeps is another "
                "choice, which its epsilon does not cover",
                remedy="give its folder by itself",
            )
        sweeps = zip(self.stores, self.documents, strict=True)
        for (first, one), (second, other) in itertools.combinations(sweeps, 2):
            _check_comparable(first.path, one, second.path, other)
            refuse_other_data(first, second)

    @functools.cached_property
    def differing(self) -> list[str]:
        """The keys of model, training and defences that the joined sweeps set differently.

        They are written as axes are: `model.hidden`, `l2`. Axes themselves are left out.
        """
        flat = [
            {
                key.removeprefix("defences."): value
                for block in ("model", "training", "defences")
                for key, value in flatten(document.get(block) or {}, block).items()
            }
            for document in self.documents
        ]
        keys = dict.fromkeys(key for values in flat for key in values)
        return [
            key
            for key in keys
            if key not in self.axes
            and any(values.get(key) != flat[0].get(key) for values in flat[1:])
        ]

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
        """One row a trial, in the order in which they were proposed."""
        return self.rows()

    def rows(
        self, columns: Sequence[str] | None = None, *, trials: Collection[str] | None = None
    ) -> pd.DataFrame:
        """Return some columns of some trials, in the order of their numbers; all by default."""
        names = None if columns is None else [*columns, "number"]
        frame = self._frame("trials", names, trials)
        if len(self.stores) > 1:
            frame = frame.drop_duplicates("trial_id")
        return frame.sort_values(["number", "trial_id"], ignore_index=True)

    def measured(self, columns: Sequence[str] = ()) -> pd.DataFrame:
        """Return the columns that a front depends on, and some more ``columns``, of all trials."""
        names = dict.fromkeys(
            [
                *(*DECISIVE, *OBJECTIVES, *self.at_priors, *self.objectives.columns),
                *("recipe", "seed", *columns),
            ]
        )
        return self._with_recipes(self.rows(list(names)))

    def compared(self, columns: Sequence[str] = ()) -> pd.DataFrame:
        """Return :meth:`measured`, with one row for the trials that differ only in their seed."""
        return average_seeds(self.measured(columns))

    def _with_recipes(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return ``trials`` with the recipes that older records lack, as far as they are needed."""
        missing = trials["recipe"].isna()
        if not missing.any():
            return trials
        recipes = trials["trial_id"]
        if trials["seed"].nunique() > 1:
            texts = self.rows(["config"]).set_index("trial_id")["config"]
            recipes = recipes.map(texts.map(recipe_of))
        return trials.assign(recipe=trials["recipe"].where(~missing, recipes))

    def conditions(self, texts: Sequence[str]) -> list[Condition]:
        """Return the conditions in ``texts``, each on a column of ``trials`` that holds numbers.

        Raises:
            SpaceError: a text is not a condition, or its column does not exist or holds no numbers.

        """
        return parse_conditions(texts, self.axes, self.at_priors)

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
        """The first reconstructions of each trial, attack and layer, with their originals."""
        return self.of("reconstructions")

    @property
    def examples(self) -> pd.DataFrame:
        """One row a trial and figure, with what each example has in it."""
        return self.of("examples")

    @property
    def subsets(self) -> pd.DataFrame:
        """One row a trial and class or subgroup, with its figures."""
        return self.of("subsets")

    def of(self, table: str, trials: Collection[str] | None = None) -> pd.DataFrame:
        """Return the rows of a table, each once; of ``trials`` if given.

        Rows of unfinished trials are left out: a driver that died may have written some.
        """
        keys = {
            "attacks": ["trial_id", "attack", "layer", "models"],
            "epochs": ["trial_id", "epoch"],
            "scores": ["trial_id", "attack", "example"],
            "reconstructions": ["trial_id", "attack", "layer", "example"],
            "examples": ["trial_id", "figure"],
            "subsets": ["trial_id", "kind", "subset"],
        }
        frame = self._frame(table, trials=trials)
        finished = self._frame("trials", ["trial_id"], trials)["trial_id"]
        rows = frame[frame["trial_id"].isin(finished)]
        return rows.drop_duplicates(subset=keys[table], ignore_index=True)

    def front(self, *, everything: bool = False, where: Sequence[Condition] = ()) -> pd.DataFrame:
        """Return the trials that no other dominates, best accuracy first.

        With ``where``, trials that miss one of its conditions are left out first. Trials that
        differ only in their seed are one row, the first of them, with the means of their figures
        and their number in a column ``seeds``. Otherwise ``front_share`` is the share of resamples
        in which no other trial dominates it, and ``front_group`` the number of a group whose trials
        cannot be told apart. See :meth:`Objectives.front`.
        """
        return self.standing(everything=everything, where=where).front

    def standing(self, *, everything: bool = False, where: Sequence[Condition] = ()) -> Standing:
        """Return :meth:`front` with what could be told apart."""
        measured = self.measured([condition.column for condition in where])
        trials = meeting(average_seeds(measured), where)
        recipes = self.objectives.front(trials, everything=everything)["recipe"]
        recipe_of_trial = measured.set_index("trial_id")["recipe"]
        chosen = recipe_of_trial[recipe_of_trial.isin(set(recipes))]
        rows = self.rows(trials=set(chosen.index))
        whole = average_seeds(rows.assign(recipe=rows["trial_id"].map(chosen)))
        front = whole.set_index("recipe", drop=False).loc[recipes].reset_index(drop=True)
        read = functools.partial(self.of, "examples")
        return standing(self.objectives, trials, front, read, everything=everything)


def _parse_objectives(path: str, document: Mapping[str, Any]) -> Objectives:
    try:
        constraints = parse_constraints(document.get("constraints"), stated_columns(document))
        objectives = Objectives.parse(document["objectives"])
        return dataclasses.replace(objectives, constraints=constraints)
    except SpaceError as error:
        raise StoreError(f"{path}/{SPACE} is not a space that raysweep wrote: {error}") from None


def _check_comparable(
    first: str, one: Mapping[str, Any], second: str, other: Mapping[str, Any]
) -> None:
    """Raise :class:`StoreError` unless two sweeps measured the same thing on the same data.

    Sweeps of other seeds have other deals, so that they must be alike in all that they train.
    """
    has_other_seed = one.get("seed") != other.get("seed")
    for key in (*_MEASURED, *(_TRAINED if has_other_seed else ())):
        if one.get(key) != other.get(key):
            which = f"`{key}` differs"
            if key in _TRAINED:
                which = f"`seed` differs, which only sweeps of one space may, and so does `{key}`"
            raise StoreError(
                f"these sweeps cannot share a front, {which}: "
                f"{one.get(key)} in {first}, {other.get(key)} in {second}"
            )


_MEASURED = ("dataset", "attacks", "measure", "objectives", "constraints")

_TRAINED = ("model", "training", "defences", "search", "scenarios")


def short_record(row: Mapping[str, Any], objectives: Objectives) -> dict[str, Any]:
    """Return the columns of a record that fronts, counts and the study of a running sweep need.

    A whole record takes 5 KB and a short one 0.6 KB, and a driver holds thousands of them.
    """
    return {key: row.get(key) for key in (*_SHORT, *objectives.columns)}


_SHORT = (
    "trial_id",
    "recipe",
    "status",
    "scenario",
    "accuracy",
    "attack_auc",
    "inversion_mse",
    "inversion_floor",
    "inversion_converged",
    "collapsed",
    "n_classes",
    "train_seconds",
    "attack_seconds",
)


def load(*paths: str) -> Results:
    """Return the results of one sweep, or of several with equal data, attacks and objectives.

    Sweeps of one space with other seeds are joined as the seeds of an axis are.

    Raises:
        StoreError: a folder is not a results folder, a file is damaged, or the sweeps cannot be
            compared.

    """
    return Results(*paths)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as plain mappings, missing values as None."""
    names = [str(name) for name in frame.columns]
    columns = [_plain_values(column) for _, column in frame.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain_values(column: pd.Series[Any]) -> list[Any]:
    """Return the values of a column as Python's own, missing ones as None."""
    values, gone = column.tolist(), column.isna().tolist()
    native = (v.item() if isinstance(v, np.generic) else v for v in values)
    return [None if is_gone else v for v, is_gone in zip(native, gone, strict=True)]
