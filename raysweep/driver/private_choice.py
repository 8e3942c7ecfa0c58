"""Choose the best of a random number of trainings privately, and write the winner alone.

The trainings run one after another in this process. Their number, and those that lost, are written
nowhere, so a run that is killed has released nothing and begins anew.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from raysweep.data import Dataset, Splits, deal_key
from raysweep.driver.recorder import write_front
from raysweep.errors import PrivacyError, SpaceError, StoreError, TrainingDiverged
from raysweep.records.folder import SPACE
from raysweep.records.guarantee import choice_line
from raysweep.records.store import Store
from raysweep.records.summary import Summary
from raysweep.records.tables import pack
from raysweep.space.settings import RandomTrials
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


def choose_privately(
    space: Space, store: Store, loaded: dict[str, Splits], *, say: Callable[..., object] = print
) -> Summary:
    """Train a random number of configurations, and write the most accurate one to ``store``.

    Raises:
        TrainingDiverged: no training ended with finite weights; nothing is written.
        PrivacyError: two configurations did not spend alike; nothing is written.

    """
    from raysweep.trial.saved_model import save_model

    law = space.sampler.law
    assert law is not None
    say("note: as many trainings as the law gives; Ctrl-C releases nothing")
    trained, result = _best(space, law, loaded)
    whole = _of_the_choice(trained, law)
    trained = dataclasses.replace(
        trained, target=dataclasses.replace(trained.target, privacy=whole)
    )
    winner = _released(result, whole)
    save_model(f"{store.path}/{MODEL}", trained, winner)
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

    best, best_score, spent = None, (-1.0, 0.0), set()
    for _ in range(draw_number(law.distribution, law.mean)):
        run = _train(_draw(space), loaded, space.resources.threads)
        if run is None:
            continue
        trained, result = run
        spent.add(_mechanism(trained))
        score = (float(result.trial.accuracy or 0), secrets.SystemRandom().random())
        if score > best_score:
            best, best_score = run, score

    if best is None:
        raise TrainingDiverged(
            "no training of the choice ended with finite weights, and nothing is released",
            remedy="lower the learning rate",
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
    config: TrialConfig, loaded: Mapping[str, Splits], threads: int
) -> tuple[Trained, TrialResult] | None:
    """Return a training with noise that nothing can repeat; None if its weights are not finite."""
    from raysweep.trial.run import run_trial

    def load(dataset: Dataset, *, seed: int) -> Splits:
        return loaded[deal_key(dataset, seed)]

    trained: list[Trained] = []
    try:
        result = run_trial(
            config, load=load, on_target=trained.append, threads=threads, secure_noise=True
        )
    except (TrainingDiverged, ArithmeticError):
        return None
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


def _released(result: TrialResult, whole: PrivacySpent) -> TrialResult:
    """Return the winner's row with what the epsilon of the choice covers, and no other row."""
    from raysweep.defences.dpsgd.tradeoff import bounds_of
    from raysweep.records.columns import TrialRecord, TrialResult

    columns: dict[str, Any] = {name: getattr(result.trial, name) for name in RELEASED}
    columns |= {name: getattr(whole, name) for name in OF_THE_WHOLE}
    columns |= bounds_of(whole.epsilon, whole.delta)
    return TrialResult(trial=TrialRecord(**columns))
