"""The space of a confirmation: chosen configurations of a sweep again, on models of other seeds."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import yaml

from raysweep.config import Measure, sub_seed
from raysweep.errors import RaysweepError, StoreError
from raysweep.records.trial_config import TrialConfig, setting, stored_settings, varied_keys
from raysweep.space.parsing import parse_space
from raysweep.space.space import Space

LONGEST_NAME = 90  # of the sweep, so that that of its confirmation may be a name, too


def confirmation_space(
    document: Mapping[str, Any], configs: Mapping[str, str], measure: Measure, *, place: str
) -> Space:
    """Return the space that runs ``configs`` (trial id -> JSON) of a sweep and its baseline again.

    It has a scenario for each of them, named by the trial id, and no axis. Its seed is another one,
    so that initial weights, batches, noise and halves are new, and the deal is that of the sweep.
    ``document`` is the space of the sweep as plain values. Errors name it ``place``.

    Raises:
        RaysweepError: a configuration cannot be measured so, or was written by a version of
            raysweep that gave its settings another meaning.

    """
    try:
        scenarios = {trial_id: _values(document, text) for trial_id, text in configs.items()}
        for text in configs.values():
            TrialConfig.from_json(text).attacks.check_recipe()
        text = yaml.safe_dump(_document(document, scenarios, measure), sort_keys=False)
        space = parse_space(text, f"the confirmation of {place}")
    except RaysweepError as error:
        raise type(error)(f"{place} cannot be confirmed: {error}") from None

    ids = {space.baseline().trial_id}
    for trial_id, (_, values) in zip(scenarios, space.scenario_points(), strict=True):
        config = space.config(values)
        _check_same(config, configs[trial_id], f"trial {trial_id} of {place}")
        ids.add(config.trial_id)
    sampler = dataclasses.replace(space.sampler, trials=len(ids))
    return dataclasses.replace(space, sampler=sampler)


def _document(
    document: Mapping[str, Any], scenarios: Mapping[str, Any], measure: Measure
) -> dict[str, Any]:
    """Return the space of a confirmation as plain values."""
    kept = {key: copy.deepcopy(value) for key, value in document.items() if key != "pruning"}
    seed = document.get("seed", 0)
    deal = {"deal_seed": seed} if "deal_seed" not in kept["dataset"] else {}
    resources = {k: v for k, v in (kept.get("resources") or {}).items() if k != "time_limit"}
    return {
        **kept,
        "name": f"{str(document['name'])[:LONGEST_NAME]}-confirm",
        "dataset": {**kept["dataset"], **deal},
        "search": {},
        "scenarios": dict(scenarios),
        "measure": measure.settings,
        "sampler": {"name": "random"},
        "resources": resources,
        "seed": sub_seed(seed, "confirm"),
    }


def _values(document: Mapping[str, Any], config: str) -> dict[str, Any]:
    """Return key -> value of a recorded configuration, as a scenario states one value of a key.

    The keys are those that vary, and those of fixed defences, which the baseline has not.
    """
    keys = dict.fromkeys([*varied_keys(document), *(document.get("defences") or {})])
    stored = stored_settings(config)
    found = {key: setting(stored, key) for key in keys if key != "seed"}
    # A list in a scenario is one of values, which are tried one by one.
    return {k: [v] if isinstance(v, list) else v for k, v in found.items() if v is not None}


def _check_same(again: TrialConfig, config: str, which: str) -> None:
    """Raise :class:`StoreError` unless a configuration is the recorded one on other models."""
    if _recipe(again.to_json()) != _recipe(config):
        raise StoreError(
            f"{which} cannot be confirmed: this version of raysweep makes another configuration of "
            "its settings than the one that recorded it",
            remedy="confirm it with that version, which the column `versions` names",
        )


def _recipe(config: str) -> dict[str, Any]:
    """Return what a configuration shares with that of its confirmation."""
    settings = stored_settings(config)
    settings["dataset"].pop("deal_seed", None)
    return {key: value for key, value in settings.items() if key not in ("seed", "measure")}
