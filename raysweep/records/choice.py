"""Choose the best trial that meets some conditions, or the one that comes nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raysweep.config.plain_text import one_line
from raysweep.config.registry import suggestion
from raysweep.errors import SpaceError, StoreError
from raysweep.records.conditions import Condition, column_name
from raysweep.records.objectives import OBJECTIVES, Objectives, is_objective, objective
from raysweep.records.priors import prior_of
from raysweep.records.results import records


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A row of ``trials``, and whether it meets every condition or is only the nearest."""

    row: dict[str, Any]
    fits: bool


def choose(
    trials: pd.DataFrame,
    objectives: Objectives,
    conditions: Sequence[Condition],
    by: str,
    *,
    everything: bool = False,
) -> Choice:
    """Return the trial that is best ``by`` an objective among those that meet every condition.

    If no trial meets them all, return the one that misses them by least. Collapsed trials and
    attacks that did not converge are chosen only with ``everything``.

    Raises:
        SpaceError: ``by`` is not an objective.
        StoreError: no trial is eligible.

    """
    by = column_name(by)
    if not is_objective(by) or by not in trials:
        known = [*OBJECTIVES, *(name for name in map(str, trials) if prior_of(name))]
        raise SpaceError(f"--by {by!r} is not an objective{suggestion(by, known)}")
    eligible = objectives.eligible(trials, everything=everything)
    fit = trials[eligible & trials[by].notna()]
    if fit.empty:
        why, remedy = _why_none(trials, by)
        raise StoreError(f"no trial can be chosen: {why}", remedy=remedy)

    values = Objectives.of(by).comparable(fit)[:, 0]
    losses = -values if objective(by).direction == "max" else values
    meets, shortfall = np.ones(len(fit), dtype=bool), np.zeros(len(fit))
    for condition in conditions:
        meets &= condition.fits(fit)
        shortfall += condition.shortfall(fit)

    # The last key sorts first; accuracy breaks ties.
    order = np.lexsort((-fit["accuracy"].to_numpy(), losses, shortfall, ~meets))
    best = order[0]
    return Choice(row=records(fit.iloc[[best]])[0], fits=bool(meets[best]))


def _why_none(trials: pd.DataFrame, by: str) -> tuple[str, str]:
    """Return why no trial can be chosen, and what helps."""
    if trials.empty:
        return "none has ended", "run the sweep, or wait for it"

    ok = trials[trials["status"] == "ok"]
    if ok.empty:
        counts = trials["status"].value_counts()
        ended = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        errors = trials["error"].dropna().tolist() if "error" in trials else []
        first = f" (the first: {one_line(errors[0])})" if errors else ""
        return f"none ended ok: {ended}{first}", "mend the cause, then sweep with --retry-failed"
    if ok[by].isna().all():
        return f"none has {by}", "choose --by another objective"
    return (
        f"all {len(ok):,} that ended ok collapsed or have an attack that did not converge",
        "--all includes them",
    )
