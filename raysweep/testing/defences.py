"""The rules that every defence keeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from raysweep.config import Training, to_plain
from raysweep.config.own_class import check_dataclass
from raysweep.config.registry import build, fields
from raysweep.defences import DEFENCES, Defences
from raysweep.defences.own import METHODS, OwnDefence, check_neutral, check_recipe
from raysweep.errors import SpaceError
from raysweep.models import MODELS
from raysweep.testing.rules import CPU, demand, demanding, digits, parameters
from raysweep.training.loop import train
from raysweep.training.recipe import Recipe, plain_recipe
from raysweep.trial.machine import limit_threads

STRONG: dict[str, dict[str, Any]] = {
    "Distillation": {"distillation_temperature": 10.0},
    "RandomCrop": {"random_crop": 2},
    "GaussianNoise": {"gaussian_noise": 0.2},
    "L2": {"l2": 0.1, "l2_scope": "all"},
    "EarlyStopping": {"early_stopping": 1.0},
    "AdversarialRegularisation": {
        "adversarial_regularisation": 3.0,
        "reference_size": 30.0,
        "adversary_batches": 9,
    },
    "DPSGD": {"target_epsilon": 4.0},
}
"""Settings that change the training; of others the first parameter is set to 0.5."""


@limit_threads(1)
def check_defence(kind: type[Any], **strong: Any) -> None:
    """Check a defence's class against its contract, at a strong setting.

    ``strong`` are parameters that change the training; by default the first one is 0.5.

    Raises:
        BrokenRule: the first rule that it breaks, and what was found.

    """
    for rule in RULES:
        rule(kind, strong)
    for other in DEFENCES:
        acts_beside(kind, other, strong)


def setting(kind: type[Any], strong: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the parameters with which a defence is tested."""
    return dict(strong or STRONG.get(kind.__name__) or {next(iter(fields(kind))): 0.5})


def recipe(**training: Any) -> Recipe:
    """Return the plain recipe of a small network."""
    private = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 60}
    network = MODELS["thesis_cnn"](widths=(4, 4, 4), dense=16).build
    return plain_recipe(network, Training(**{"epochs": 2, "private": private, **training}))


def weights(trained_by: Recipe) -> torch.Tensor:
    """Return the weights of a network that is trained by a recipe, flat."""
    return parameters(train(trained_by, digits().members, seed=0, device=CPU))


def is_neutral_by_default(kind: type[Any], strong: Mapping[str, Any]) -> None:
    """Check that it is a dataclass whose defaults mean plain training."""
    with demanding(kind.__name__, "it is a dataclass whose defaults mean plain training"):
        check_dataclass(kind, kind.__name__, METHODS)
        check_neutral(kind, kind.__name__)


def is_on_at_its_strong_setting(kind: type[Any], strong: Mapping[str, Any]) -> None:
    """Check that the setting that it is tested with is valid and not neutral."""
    values = setting(kind, strong)
    rule = f"{values} is a strong setting (another one: check_defence(kind, parameter=value))"
    with demanding(kind.__name__, rule):
        defence = build(kind, values)
        demand(not defence.is_neutral, kind.__name__, rule, "`is_neutral`")


def changes_the_training(kind: type[Any], strong: Mapping[str, Any]) -> None:
    """Check that its strength changes the weights, and not the recipe that it was given."""
    rule, given = "a strong setting changes the trained weights", recipe()
    before = dataclasses.replace(given)
    with demanding(kind.__name__, rule):
        defended = build(kind, setting(kind, strong)).apply(given, digits().reference)
        check_recipe(defended)
        changed = not torch.equal(weights(defended), weights(given))
    demand(changed, kind.__name__, rule, "the same weights as plain training")
    demand(given == before, kind.__name__, "`apply` leaves its recipe unchanged", "a change")


def survives_json(kind: type[Any], strong: Mapping[str, Any]) -> None:
    """Check that its parameters survive JSON, which carries them to the workers."""
    rule = "parameters survive JSON, which carries them to workers and records"
    with demanding(kind.__name__, rule):
        defence = build(kind, setting(kind, strong))
        values = json.loads(json.dumps(to_plain(dataclasses.asdict(defence))))
        again = build(kind, values)
    demand(again == defence, kind.__name__, rule, again)


RULES: tuple[Callable[[type[Any], Mapping[str, Any]], None], ...] = (
    is_neutral_by_default,
    is_on_at_its_strong_setting,
    changes_the_training,
    survives_json,
)


def acts_beside(kind: type[Any], other: type[Any], strong: Mapping[str, Any] | None = None) -> None:
    """Check that each of two defences changes what the other makes of the weights.

    Two that may not stand together are refused.

    Raises:
        BrokenRule: one of them has no effect, or the weights are not finite.

    """
    both = [_defence(kind, strong), _defence(other, None)]
    rule = f"it acts beside {other.__name__}, and {other.__name__} beside it"
    with demanding(kind.__name__, rule):
        try:
            together = Defences.of(*both)
        except SpaceError as error:
            demand("breaks the guarantee" in str(error), kind.__name__, rule, error)
            return
        found = weights(together.apply(recipe(epochs=3), digits().reference))
        alone = [_weights_of(_defence(kind, strong)), _alone(other)]
    demand(torch.isfinite(found).all(), kind.__name__, rule, "weights that are not finite")
    for acting, without in zip((other, kind), alone, strict=True):
        changed = not torch.equal(found, without)
        demand(changed, kind.__name__, rule, f"no effect of {acting.__name__}")


LONGER = {"EarlyStopping": {"early_stopping": 2.0}}
"""In three epochs, because the inner adversary acts from epoch 2 on."""


def _defence(kind: type[Any], strong: Mapping[str, Any] | None) -> Any:
    values = LONGER.get(kind.__name__) or setting(kind, strong)
    defence = build(kind, values)
    return defence if kind in DEFENCES else OwnDefence(f"own:{kind.__name__}", defence)


def _weights_of(*defences: Any) -> torch.Tensor:
    return weights(Defences.of(*defences).apply(recipe(epochs=3), digits().reference))


def _alone(kind: Any) -> torch.Tensor:
    """Return what a defence of the catalogue makes of the weights by itself, trained once."""
    if kind not in _ALONE:
        _ALONE[kind] = _weights_of(_defence(kind, None))
    return _ALONE[kind]


_ALONE: dict[Any, torch.Tensor] = {}
