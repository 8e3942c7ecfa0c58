"""The rules that a user's own model and data keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from raysweep.config import Training
from raysweep.data.examples import RawData, to_raw_data
from raysweep.data.user import RETURNS
from raysweep.testing.rules import CPU, demand, demanding, digits
from raysweep.training.loop import isolated_rng, train
from raysweep.training.recipe import plain_recipe
from raysweep.trial.machine import limit_threads


@limit_threads(1)
def check_model(
    function: Callable[..., Any],
    *,
    shape: tuple[int, ...] = (1, 8, 8),
    n_classes: int = 10,
    private: bool = False,
    **parameters: Any,
) -> None:
    """Check ``function(shape, n_classes, **parameters)`` against the contract of models.

    ``private`` also asks that DP-SGD can train it. On digits (the default shape) it must learn.

    Raises:
        BrokenRule: the first rule that it breaks, and what was found.

    """
    name = getattr(function, "__name__", repr(function))

    def build(shape: tuple[int, ...], n_classes: int, **_dropout: float) -> Any:
        return function(shape, n_classes, **parameters)

    module = _module(build, name, shape, n_classes)
    rule = "its logits are one row for each example, which does not depend on the others"
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    with demanding(name, rule), torch.no_grad():
        logits = module.eval()(x)
        one = module(x[:1])
    demand(tuple(logits.shape) == (5, n_classes), name, rule, f"shape {tuple(logits.shape)}")
    demand(torch.allclose(one, logits[:1], atol=1e-5), name, rule, "a row that changes alone")

    if private:
        from raysweep.defences.dpsgd.choice import clipping
        from raysweep.defences.dpsgd.mixing import refuse_mixing
        from raysweep.defences.dpsgd.unsafe_layers import refuse_unsafe_layers

        with demanding(name, "DP-SGD can train it"):
            refuse_unsafe_layers(module.train())
            refuse_mixing(module, x)
            clipping(module, x, 1.0).release()
    if (shape, n_classes) == ((1, 8, 8), 10):
        _check_learns(build, name)


def _module(build: Callable[..., Any], name: str, shape: Any, n_classes: int) -> nn.Module:
    """Return the module that a function gives, the same for the same seed."""
    rule = "it returns an nn.Module, the same one for the same global seed"
    made = []
    with demanding(name, rule):
        for _ in range(2):
            with isolated_rng(0, CPU):
                made.append(build(shape, n_classes))
    demand(isinstance(made[0], nn.Module), name, rule, type(made[0]).__name__)
    pairs = zip(made[0].parameters(), made[1].parameters(), strict=True)
    demand(all(torch.equal(a, b) for a, b in pairs), name, rule, "other weights")
    module: nn.Module = made[0]
    return module


def _check_learns(build: Callable[..., Any], name: str) -> None:
    rule = "twenty epochs on 120 digits lower its loss"
    losses: list[float] = []
    recipe = plain_recipe(build, Training(epochs=20, batch_size=16))
    with demanding(name, rule):
        train(
            recipe,
            digits().members,
            seed=0,
            device=CPU,
            on_epoch=lambda epoch: not losses.append(epoch.loss),  # type: ignore[func-returns-value]
        )
    demand(losses[-1] < losses[0], name, rule, f"loss {losses[0]:.3g}, then {losses[-1]:.3g}")


def check_data(function: Callable[..., Any], **parameters: Any) -> None:
    """Check ``function(**parameters)`` against the contract of data.

    Raises:
        BrokenRule: the first rule that it breaks, and what was found.

    """
    name = getattr(function, "__name__", repr(function))
    first, again = (_raw(function, name, parameters) for _ in range(2))

    rule = "it returns the same examples each time, because each worker calls it"
    same = np.array_equal(first.features, again.features)
    demand(same and np.array_equal(first.labels, again.labels), name, rule, "others")
    n = len(np.unique(first.labels))
    demand(n > 1, name, "it has at least two classes", n)


def _raw(function: Callable[..., Any], name: str, parameters: dict[str, Any]) -> RawData:
    rule = f"it returns {RETURNS}"
    with demanding(name, rule):
        result = function(**parameters)
        demand(isinstance(result, tuple) and len(result) in (2, 3, 4), name, rule, type(result))
        return to_raw_data(*result)
