"""Choose the best of a random number of trainings privately, and write the winner alone.

The trainings run one after another in this process. Their number, and those that lost, are written
nowhere, so a run that is killed has released nothing and begins anew.

The bound holds for a training with any outcome, so one that fails, by its weights, its machine or
its time, is an outcome, too: the one that loses. To try it again, or to end there, would change the
law of the number.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from raysweep.data import Dataset, Splits, deal_key
from raysweep.driver.recorder import write_front
from raysweep.errors import (
    DataError,
    ModelError,
    PrivacyError,
    SpaceError,
    StoreError,
    TrainingDiverged,
)
from raysweep.records.folder import SPACE
from raysweep.records.guarantee import choice_line, guarantee_line
from raysweep.records.store import Store
from raysweep.records.summary import Summary
from raysweep.records.tables import pack
from raysweep.space.settings import RandomTrials, Resources
from raysweep.space.space import Space

if TYPE_CHECKING:
    from raysweep.records.columns import TrialResult
    from raysweep.records.trial_config import TrialConfig
    from raysweep.training.recipe import PrivacySpent
    from raysweep.trial.saved_model import Trained

MODEL, CARD = "model.safetensors", "model.json"

RELEASED = (
    *("trial_id", "recipe", "status", "defences", "neighbours", "clipping", "noise_multiplier"),
    *("sample_rate", "steps", "group_records", "accuracy", "accuracy_low", "accuracy_high"),
    *("collapsed", "device", "dataset", "model", "split", "n_members", "n_classes"),
    *("n_nonmembers", "n_pool", "n_reference", "n_validation", "n_test"),
    *("seed", "config", "versions"),
)
"""The columns of the winner: its settings, and what follows from its weights without a member."""

OF_THE_WHOLE = ("epsilon", "accountant", "accountant_settings")

OF_THE_CONFIGURATION = (SpaceError, DataError, ModelError, PrivacyError)
"""The errors of a training that no member has a part in. All others may be a member's doing."""


class _TookTooLong(Exception):
    """A training ran longer than ``resources.time_limit``."""


def refuse_options(**given: object) -> None:
    """Raise :class:`SpaceError` for an option of a sweep that a private choice does not have."""
    for name, value in given.items():
        if value:
            option = "--" + name.replace("_", "-")
            raise SpaceError(
                f"{option} is not for a random number of trials: they run one after another in "
                "this process until their number, which nobody knows, is reached",
                remedy="leave it out",
            )


def check_folder(store: Store) -> None:
    """Raise :class:`StoreError` unless a winner can be written to the folder."""
    if not store.folder.is_local:
        raise StoreError(
            "a private choice writes a model, to a folder on this machine", got=store.path
        )
    if store.folder.exists(SPACE):
        raise StoreError(
            f"{store.path} holds a sweep already, and a second choice would be a second release, "
            "whose epsilon adds to the first",
            remedy="give another --out",
        )
    for name in (MODEL, CARD):
        if store.folder.exists(name):
            raise StoreError(
                f"{store.path}/{name} exists, and a saved model is not overwritten",
                remedy="give another --out",
            )


def check_groups(space: Space, loaded: Mapping[str, Splits]) -> None:
    """Raise :class:`SpaceError` where the size of a group is known from the members alone."""
    if space.config().dataset.records_per_group is not None:
        return
    if any(splits.group_records is not None for splits in loaded.values()):
        raise SpaceError(
            "a private choice tells how many records a group may have, and what the members say of "
            "that is not covered by an epsilon",
            remedy="state `dataset.records_per_group`, or leave the groups out",
            place=["dataset"],
        )


def choose_privately(
    space: Space, store: Store, loaded: dict[str, Splits], *, say: Callable[..., object] = print
) -> Summary:
    """Train a random number of configurations, and write the most accurate one to ``store``.

    Raises:
        SpaceError: the data have groups, and the space does not cap their records.
        TrainingDiverged: every training failed; nothing is written.
        PrivacyError: two configurations did not spend alike; nothing is written.

    """
    from raysweep.trial.saved_model import save_model

    law = space.sampler.law
    assert law is not None
    check_groups(space, loaded)
    say("note: as many trainings as the law gives; Ctrl-C releases nothing")
    trained, result = _best(space, law, loaded)
    whole = _of_the_choice(trained, law)
    trained = dataclasses.replace(
        trained, target=dataclasses.replace(trained.target, privacy=whole)
    )
    winner = _released(result, whole, _of_a_group(trained, law, result.trial.group_records))
    save_model(f"{store.path}/{MODEL}", trained, winner)
    spent = f"epsilon {whole.epsilon:.4g} at delta {whole.delta:g}"
    say(f"{spent}: {guarantee_line(winner.trial.row())}. {whole.choice}")
    store.write(pack(winner).with_number(number=1))
    document = json.loads(json.dumps(space.to_plain()))  # a copy without shared values
    store.folder.write_bytes(yaml.safe_dump(document, sort_keys=False).encode(), SPACE)
    counts = {"ok": 1, "pruned": 0, "failed": 0, "missing": 0}
    return Summary(out=store.path, ended="done", **counts, standing=write_front(store))


def _best(
    space: Space, law: RandomTrials, loaded: Mapping[str, Splits]
) -> tuple[Trained, TrialResult]:
    """Return the most accurate of a random number of trainings; a draw decides between equals."""
    from raysweep.defences.dpsgd.selection import draw_number

    best, best_score, spent, failed = None, (-1.0, 0.0), set(), ""
    for _ in range(draw_number(law.distribution, law.mean)):
        run = _train(_draw(space), loaded, space.resources)
        if isinstance(run, str):
            failed = run
            continue
        trained, result = run
        spent.add(_mechanism(trained))
        score = (float(result.trial.accuracy or 0), secrets.SystemRandom().random())
        if score > best_score:
            best, best_score = run, score

    if best is None:
        raise TrainingDiverged(
            f"every training of the choice failed, and nothing is released; the last: {failed}",
            remedy="lower the learning rate, or raise the limits of time and memory",
        )
    if len(spent) > 1:
        raise PrivacyError(
            "the trainings of a private choice must spend alike, and some axis changes noise, "
            "sampling rate or steps; nothing is released"
        )
    return best


def _draw(space: Space) -> TrialConfig:
    """Return a configuration of the space, drawn by the operating system's entropy."""
    draw = secrets.SystemRandom().random
    return space.config({key: axis.value_at(draw()) for key, axis in space.axes.items()})


def _train(
    config: TrialConfig, loaded: Mapping[str, Splits], resources: Resources
) -> tuple[Trained, TrialResult] | str:
    """Return a training with noise that nothing can repeat, or why it failed.

    The time limit is looked at after each epoch.
    """
    from raysweep.trial.faults import reason
    from raysweep.trial.run import run_trial

    began, limit = time.monotonic(), resources.seconds

    def load(dataset: Dataset, *, seed: int) -> Splits:
        return loaded[deal_key(dataset, seed)]

    def on_epoch(_record: object) -> None:
        if limit is not None and time.monotonic() - began > limit:
            raise _TookTooLong(f"it ran longer than its time limit of {limit:g} s")

    trained: list[Trained] = []
    try:
        result = run_trial(
            config,
            load=load,
            on_epoch=on_epoch,
            on_target=trained.append,
            threads=resources.threads,
            secure_noise=True,
        )
    except OF_THE_CONFIGURATION:
        raise
    except Exception as error:
        return reason(error)
    return trained[0], result


def _spent(trained: Trained) -> PrivacySpent:
    spent = trained.target.privacy
    assert spent is not None
    return spent


def _mechanism(trained: Trained) -> tuple[float, float, int, float]:
    spent = _spent(trained)
    return spent.noise_multiplier, spent.sample_rate, spent.steps, spent.delta


def _of_the_choice(trained: Trained, law: RandomTrials) -> PrivacySpent:
    """Return what the whole choice has spent."""
    from raysweep.defences.dpsgd.selection import SETTINGS, epsilon_of_choice

    spent, given = _spent(trained), dataclasses.asdict(law)
    epsilon = epsilon_of_choice(
        spent.noise_multiplier,
        delta=spent.delta,
        sample_rate=spent.sample_rate,
        steps=spent.steps,
        **given,
    )
    return dataclasses.replace(
        spent,
        epsilon=epsilon,
        accountant="rdp",
        accountant_settings=SETTINGS.format(**given),
        choice=choice_line({"sampler": {"trials": given}}),
    )


def _of_a_group(trained: Trained, law: RandomTrials, records: int | None) -> float | None:
    """Return what the whole choice has spent of a group's records together; None without groups."""
    from raysweep.defences.dpsgd.selection import epsilon_of_group_choice

    spent = _spent(trained)
    if records is None or records == 1:
        return None if records is None else spent.epsilon
    return epsilon_of_group_choice(
        spent.noise_multiplier,
        records=records,
        delta=spent.delta,
        sample_rate=spent.sample_rate,
        steps=spent.steps,
        **dataclasses.asdict(law),
    )


def _released(result: TrialResult, whole: PrivacySpent, of_group: float | None) -> TrialResult:
    """Return the winner's row with what the epsilon of the choice covers, and no other row."""
    from raysweep.defences.dpsgd.tradeoff import bounds_of
    from raysweep.records.columns import TrialRecord, TrialResult

    columns: dict[str, Any] = {name: getattr(result.trial, name) for name in RELEASED}
    columns |= {name: getattr(whole, name) for name in OF_THE_WHOLE}
    columns |= bounds_of(whole.epsilon, whole.delta)
    columns["epsilon_per_group"] = of_group
    return TrialResult(trial=TrialRecord(**columns))
