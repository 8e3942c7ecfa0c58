"""Save the model that a trial trained, with a card that says what it is, and load it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_weights
from safetensors.torch import save as format_weights
from torch import Tensor, nn

from raysweep.config import sub_seed, to_plain
from raysweep.config.plain_text import one_line
from raysweep.data import Splits
from raysweep.errors import ModelError, SpaceError, StoreError
from raysweep.records.columns import AttackRecord, TrialRecord, TrialResult
from raysweep.records.folder import LARGEST_FILE, replace_file, require_file
from raysweep.records.guarantee import NEIGHBOURS, unit_of
from raysweep.records.ledger import ledger_of_row
from raysweep.records.provenance import now
from raysweep.records.trial_config import TrialConfig
from raysweep.training.loop import isolated_rng
from raysweep.training.recipe import PrivacySpent
from raysweep.training.target import TrainedTarget
from raysweep.trial.model_card import ModelCard, scaling_of

FIGURES = (
    *("accuracy", "train_accuracy", "collapsed", "attack_auc", "attack_auc_low"),
    *("attack_auc_high", "strongest_attack", "inversion_mse", "inversion_floor"),
    *("models", "population", "accuracies"),  # with `measure`: the others are of the recipe
)
"""The columns of ``trials`` that a card repeats."""

BOUNDS = (
    *("group_records", "epsilon_per_group"),
    *("tpr_bound_at_fpr_0_001", "tpr_bound_at_fpr_0_01", "tpr_bound_at_fpr_0_1"),
)
"""Those on what the promise means, which stand beside it."""


NO_CHOICE = (
    "The figures in this card come from the training examples themselves, and no epsilon covers "
    "them, nor a choice among several trained models by such figures."
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a trial trained, and on which data: ``target.model`` is the module.

    :func:`save_model` writes it. ``splits`` hold the training examples themselves.
    """

    config: TrialConfig
    target: TrainedTarget
    splits: Splits


def card_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the card of a model: FILE.json beside FILE.safetensors."""
    return Path(path).with_suffix(".json")


def check_path(path: str | os.PathLike[str], others: Sequence[str | None] = ()) -> None:
    """Raise an error unless a model can be saved at ``path``, before anything is trained.

    Nothing is overwritten: neither the weights nor the card may exist yet, and none of ``others``,
    the files that will be written besides, may have the name of one.

    Raises:
        SpaceError: the name does not end in .safetensors, or another file is to have it.
        StoreError: there is a file already, or no folder that can be written.

    """
    _check_suffix(path)
    pair = (Path(path), card_path(path))
    for file in pair:
        if file.absolute() in [Path(other).absolute() for other in others if other]:
            raise SpaceError(f"two files are to be written as {file}", remedy="give another name")
        if os.path.lexists(file):
            raise StoreError(
                f"{file} exists, and a saved model is not overwritten",
                remedy="give another name, or remove it",
            )

    folder = pair[0].absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "cannot be written" if folder.is_dir() else "is no folder"
        raise StoreError(f"{folder} {what}", remedy="make it, or give another path")


def save_model(path: str | os.PathLike[str], trained: Trained, result: TrialResult) -> None:
    """Write the weights to ``path`` (.safetensors), and the card beside them (.json).

    ``result`` is that of the trial which gave ``trained``. The weights are written first, so that
    a card always has its weights. See :func:`load_model`.

    Raises:
        SpaceError: the name does not end in .safetensors, or the result is of another trial.
        StoreError: there is a file already, or it cannot be written.
        ModelError: no weight differs from its initial value.

    """
    check_path(path)
    if result.trial.trial_id != trained.config.trial_id:
        raise SpaceError("the result is of another trial than the model", got=result.trial.trial_id)
    _refuse_unmoved(trained)

    state = trained.target.model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"the model cannot be rebuilt from a file: its state {name!r} is no tensor",
                got=type(value).__name__,
                remedy="leave get_extra_state out, or keep it in a buffer",
            )
    weights = format_weights(  # copies, because tied weights are refused
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()},
        metadata={"trial_id": trained.config.trial_id},
    )
    card = _card(Path(path).name, weights, trained, result)
    text = json.dumps(to_plain(card), indent=2, allow_nan=False) + "\n"
    try:
        replace_file(str(Path(path).absolute()), weights)
        replace_file(str(card_path(path).absolute()), text.encode())
    except OSError as error:
        raise StoreError(f"the model cannot be saved: {error}") from None


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Module, ModelCard]:
    """Return the saved module, on the CPU in evaluation mode, and its card.

    The module maps inputs (n, *shape) in [0, 1] to logits (n, classes), and ``card.scale`` makes
    such inputs of raw features. The module is built by the configuration in the card: if that
    names a function of yours, run this where Python finds it.

    Raises:
        StoreError: the weights or the card cannot be read, or the card is of other weights.
        ModelError: the weights do not fit the model that the configuration builds.

    """
    _check_suffix(path)
    card, weights = _read_card(path), _read(path, Path(path))
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise StoreError(
            f"{card_path(path)} is the card of other weights: their SHA-256 differs",
            remedy="copy both files again",
        )

    config = _config(card, str(card_path(path)))
    with isolated_rng(0, torch.device("cpu")):  # the initial weights are replaced
        module = _build(config, card.shape, card.n_classes)
    try:
        module.load_state_dict(parse_weights(weights))
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{path}: the weights do not fit model {config.model.name!r}: {error}",
            remedy="use the code that it was trained with",
        ) from None
    return module.eval(), card


def _check_suffix(path: str | os.PathLike[str]) -> None:
    if Path(path).suffix != ".safetensors":
        raise SpaceError("a model is saved in a .safetensors file", got=str(path))


def _read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Return the card of the model at ``path``; raise :class:`StoreError` for anything else."""
    file = card_path(path)
    text = _read(path, file, most=LARGEST_FILE)
    try:
        return ModelCard(json.loads(text))
    except StoreError as error:
        raise StoreError(f"{file}: {error}", remedy="copy both files again") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, JSONDecodeError
        raise _unreadable(path, f"{type(error).__name__}: {error}") from None


def _read(path: str | os.PathLike[str], file: Path, most: int | None = None) -> bytes:
    """Return the content of one of a model's two files, of at most ``most`` bytes."""
    try:
        require_file(str(file))  # a pipe, or a device without an end
        size = file.stat().st_size
        if most is not None and size > most:
            raise _unreadable(path, f"{file.name} has {size:,} bytes, and a card at most {most:,}")
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(path, str(error)) from None


def _unreadable(path: str | os.PathLike[str], why: str) -> StoreError:
    return StoreError(
        f"{path}: the model or its card {card_path(path).name} cannot be read ({why})",
        remedy="give a file that `raysweep trial --save` wrote, with its card beside it",
    )


def _config(card: ModelCard, where: str) -> TrialConfig:
    """Return the configuration in a card; raise StoreError if the trial's id is of another one."""
    text = json.dumps(card.configuration, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(text.encode()).hexdigest()[:16] != card.trial_id:
        raise StoreError(
            f"{where}: the configuration is not that of trial {card.trial_id}",
            remedy="copy both files again",
        )
    return TrialConfig.from_json(text)


def _build(config: TrialConfig, shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Return the configuration's module with its initial weights."""
    dropouts = {key: float(config.defences[key]) for key in ("dropout", "spatial_dropout")}
    try:
        return config.model.model.build(shape, n_classes, **dropouts)
    except (RuntimeError, MemoryError, OverflowError) as error:  # sizes that no machine has
        raise ModelError(
            f"model {config.model.name!r} cannot be built for inputs of {shape} and {n_classes:,} "
            f"classes: {one_line(error)}"
        ) from None


def _refuse_unmoved(trained: Trained) -> None:
    """Raise :class:`ModelError` if every weight has its initial value, which the seed gives."""
    config, target, members = trained.config, trained.target, trained.splits.members
    seed = sub_seed(sub_seed(config.seed, "target"), "initialisation")
    with isolated_rng(seed, target.device):
        initial = dict(_build(config, members.shape, members.n_classes).named_parameters())

    weights = target.model.named_parameters()
    if all(torch.equal(weight.cpu(), initial[name].cpu()) for name, weight in weights):
        raise ModelError(
            "no weight of the model has moved from its initial value: it has learnt nothing",
            remedy="raise training.learning_rate or training.epochs",
        )


def _card(file: str, weights: bytes, trained: Trained, result: TrialResult) -> dict[str, Any]:
    """Return the card as plain values."""
    splits, record = trained.splits, result.trial
    return {
        "trial_id": record.trial_id,
        "saved_at": now(),
        "weights": {"file": file, "sha256": hashlib.sha256(weights).hexdigest()},
        "inputs": {"shape": splits.members.shape, **scaling_of(splits)},
        "outputs": {"n_classes": splits.members.n_classes, "classes": splits.classes},
        "figures": _filled(record, FIGURES),
        "attacks": [_filled(attack) for attack in result.attacks],
        "privacy": {**_privacy(trained.target.privacy, record), **_filled(record, BOUNDS)},
        "ledger": _ledger(trained.target.privacy, result),
        "data": {
            "dataset": record.dataset,
            "data_hash": None if record.split_hash is None else splits.data_hash,
            "split": record.split,
            "split_hash": record.split_hash,
            "sizes": splits.sizes,
        },
        "configuration": json.loads(trained.config.to_json()),
        "versions": json.loads(record.versions),
        "device": record.device,
    }


def _ledger(spent: PrivacySpent | None, result: TrialResult) -> dict[str, Any]:
    """Return the ledger of the trial as plain values; without DP-SGD it says so."""
    found = ledger_of_row(
        result.trial.row(),
        attacks=[vars(attack) for attack in result.attacks],
        subsets=[vars(subset) for subset in result.subsets],
        choice=None if spent is None else spent.choice,
        from_system=spent is not None and not spent.is_repeatable,
    )
    return found.to_plain()


def _filled(record: TrialRecord | AttackRecord, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the columns of a row that have a value, or those among ``names``."""
    wanted = names or [field.name for field in dataclasses.fields(record)]
    row = {name: getattr(record, name) for name in wanted}
    return {name: value for name, value in row.items() if value is not None}


def _privacy(spent: PrivacySpent | None, record: TrialRecord) -> Mapping[str, Any]:
    """Return what is promised of the weights, as figures and as sentences."""
    if spent is None:
        return {"epsilon": "inf", "statement": "Trained without DP-SGD: nothing is promised."}

    noise = (
        "Noise and batches were drawn with the configuration's seed, so the promise holds only "
        "against those who do not know it. `raysweep trial --secure-noise` draws them from the "
        "operating system."
        if spent.is_repeatable
        else "Noise and batches came from the operating system, and nothing is stored that could "
        "repeat them."
    )
    return {
        **dataclasses.asdict(spent),
        "target_epsilon": record.defences["target_epsilon"],
        "neighbours": f"{spent.neighbours}: {NEIGHBOURS[spent.neighbours]}",
        "noise": "seed" if spent.is_repeatable else "operating system",
        "statement": "The weights by themselves are (epsilon, delta)-differentially private: data "
        f"sets are compared that differ in {NEIGHBOURS[spent.neighbours]}. This epsilon is for "
        f"{unit_of(record.row())}. {noise} {spent.choice or NO_CHOICE}",
    }
