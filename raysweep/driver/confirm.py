"""Confirm the front of a sweep: its configurations again, on fresh models and on the test split.

It is a sweep of its own in the folder DIR/confirm, so that it continues, runs on a cluster and runs
nothing twice as any sweep does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console

from raysweep.config import Measure
from raysweep.config.plain_text import counted
from raysweep.config.registry import build
from raysweep.driver.lock import Lock
from raysweep.driver.sweep import sweep
from raysweep.errors import SpaceError, StoreError
from raysweep.records.columns import BASELINE
from raysweep.records.conditions import meeting
from raysweep.records.confirmed import FOLDER, write_confirmed
from raysweep.records.folder import SPACE
from raysweep.records.guarantee import is_private_choice
from raysweep.records.pareto import leading
from raysweep.records.results import Results, load
from raysweep.records.store import Store
from raysweep.records.summary import Summary
from raysweep.report.cautions import empty_front
from raysweep.space.confirmation import confirmation_space
from raysweep.space.parsing import differences
from raysweep.space.space import Space
from raysweep.trial.preflight import LEAST

MODELS = 32

MOST_LINES = 5  # of what differs from an earlier confirmation


def confirm(
    folder: str,
    *,
    models: int = MODELS,
    where: Sequence[str] = (),
    everything: bool = False,
    top: int | None = None,
    max_concurrent: int | None = None,
    address: str | None = None,
    time_budget: float | None = None,
    retry_failed: bool = False,
    patience: float = 300.0,
    console: Console | None = None,
) -> Summary:
    """Measure the front of the sweep in ``folder`` and its baseline again.

    Of each configuration ``models`` models are trained with other seeds on other halves of the
    sweep's members and outsiders, and their accuracy is that on the test split. With ``where`` the
    front is that of the trials that meet every condition, ``everything`` includes collapsed models
    and attacks without convergence, and at most ``top`` of it, spread over it, are confirmed. The
    records go to ``folder``/confirm, with a comparison of what was claimed and what was confirmed
    in confirmed.parquet. Ctrl-C stops cleanly; the same call continues.

    Raises:
        StoreError: the folder holds no sweep that can be confirmed, or another confirmation of it.
        StoreBusy: the sweep is running.
        SpaceError: ``models`` is odd or below four, or a text in ``where`` is no condition.
        RaysweepError: as :func:`raysweep.sweep` does.

    """
    measure = _measure(models)
    console = console or Console(stderr=True)
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    results = load(folder)
    store = results.stores[0]
    store.folder.refuse_link(FOLDER)
    if is_private_choice(results.documents[0]):
        raise StoreError(
            f"{store.path} holds a private choice, and to confirm it would train other models of "
            "the same records and release figures that no epsilon covers"
        )

    with Lock(store, say=say):
        chosen = _choose(results, where, top, everything=everything)
        configs = dict(zip(chosen["trial_id"], chosen["config"], strict=True))
        space = confirmation_space(results.documents[0], configs, measure, place=store.path)
        out = f"{store.path}/{FOLDER}"
        _refuse_other(Store(out), space)
        for note in _notes(results):
            say(f"note: {note}")

        summary = sweep(
            space,
            out=out,
            max_concurrent=max_concurrent,
            address=address,
            time_budget=time_budget,
            retry_failed=retry_failed,
            patience=patience,
            console=console,
        )
        if not summary.is_empty:
            write_confirmed(results, load(out))
    return summary


def _measure(models: int) -> Measure:
    try:
        return build(Measure, {"models": models, "accuracy_on": "test"})
    except SpaceError as error:
        raise SpaceError(f"--models: {error}") from None


def _choose(
    results: Results, where: Sequence[str], top: int | None, *, everything: bool
) -> pd.DataFrame:
    """Return the rows of the configurations to confirm: those of the front, and the baseline.

    Raises:
        StoreError: there is none, or the sweep cannot be confirmed.

    """
    path, conditions = results.stores[0].path, results.conditions(where)
    compared = results.compared([condition.column for condition in conditions])
    front = results.front(where=conditions, everything=everything)
    if front.empty:
        reason = empty_front(meeting(compared, conditions), conditions)
        raise StoreError(f"{path} has nothing to confirm: {reason}")
    _check_splits(path, results.documents[0].get("measure"), front)

    if top is not None and len(front) > top:
        values = results.objectives.comparable(front)
        front = front[leading(values, results.objectives.directions, top)]
    ids = compared.loc[compared["number"] == BASELINE, "trial_id"]
    baseline = results.rows(trials=set(ids) - set(front["trial_id"]))
    return pd.concat([baseline[baseline["status"] == "ok"], front])


def _check_splits(path: str, measure: object, front: pd.DataFrame) -> None:
    """Raise :class:`StoreError` unless the splits of a sweep serve to confirm it."""
    if isinstance(measure, dict) and measure.get("accuracy_on") == "test":
        raise StoreError(
            f"{path} measured accuracy on its test split, which a confirmation must be the first "
            "to read",
            remedy="confirm a sweep that did not",
        )
    n_test = int(front["n_test"].fillna(0).min())
    if n_test < LEAST:
        raise StoreError(
            f"{path} cannot be confirmed: that takes at least {LEAST} examples of the test split",
            got=n_test,
            remedy="sweep again with a dataset.test of some hundred",
        )
    shared = front["split"] == "published, validation as nonmembers"
    outsiders = front["n_pool"] + front["n_nonmembers"].where(~shared, 0)
    few = front[outsiders < front["n_members"]]
    if len(few):
        n, found = int(few["n_members"].iloc[0]), int(outsiders[few.index[0]])
        raise StoreError(
            f"{path} cannot be confirmed: its models train on halves of {n:,} members and as many "
            f"outsiders (nonmembers and pool{', no validation examples' if shared.any() else ''})",
            got=found,
            remedy=f"sweep again with at most {found:,} members, or with more nonmembers or pool",
        )


def _refuse_other(store: Store, space: Space) -> None:
    """Raise :class:`StoreError` if a folder holds another confirmation than that of ``space``."""
    if not store.folder.exists(SPACE):
        return
    changed = _changes(store.space_document(), space.to_plain())
    if changed:
        more = len(changed) - MOST_LINES
        shown = [*changed[:MOST_LINES], *([f"and {more:,} more"] if more > 0 else [])]
        lines = "".join(f"\n  - {line}" for line in shown)
        raise StoreError(
            f"{store.path} holds another confirmation:{lines}\n"
            "give the same --models, --where and --top while the front is the same, or remove "
            f"{store.path} to begin anew (its accuracies were then seen before)"
        )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two confirmations, a line each; of other trials only the id."""
    old, new = (dict(document.get("scenarios") or {}) for document in (before, now))
    lines = [f"trial {trial_id}: not confirmed then" for trial_id in sorted({*new} - {*old})]
    lines += [f"trial {trial_id}: not chosen now" for trial_id in sorted({*old} - {*new})]
    both = new.keys() & old.keys()
    alike = (
        {**document, "scenarios": {key: scenarios[key] for key in both}}
        for document, scenarios in ((before, old), (now, new))
    )
    return [*differences(*alike), *lines]


def _notes(results: Results) -> list[str]:
    """Return what a reader must know of the test split of a sweep."""
    n_deals = results.rows(["split_hash"])["split_hash"].nunique()
    if n_deals < 2:
        return []
    return [
        f"the trials of the sweep have {counted(n_deals, 'deal')}: test examples of the one that "
        "is confirmed trained or chose models of the others. State dataset.deal_seed to avoid it"
    ]
