"""Try the steps of a training in which a user's model may fail, before the training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysweep.data import Split
from raysweep.errors import ModelError, RaysweepError
from raysweep.models.user_errors import told
from raysweep.training.devices import channels_last
from raysweep.training.loop import isolated_rng
from raysweep.training.recipe import EVALUATION_BATCH, Mechanism, Recipe
from raysweep.training.target import pixels

LARGEST = 32
"""Examples of the largest batch that is tried in training."""


def rehearse(recipe: Recipe, module: nn.Module, members: Split, name: str) -> None:
    """Take a step of each size that training meets, on real members, with a module that is used up.

    ``name`` is the model's in the space, for messages.

    Raises:
        ModelError: the function gives the same module twice, nothing can be trained, or the model
            fails; the message has its own error, the file and the line.
        PrivacyError: the model would break the guarantee of DP-SGD.

    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelError(
            f"model {name!r} has nothing to train: no parameter requires a gradient",
            remedy="leave at least one layer without requires_grad_(False)",
        )

    with isolated_rng(0, torch.device("cpu")):
        recipe.build_model(members.shape, members.n_classes)  # refuses the same module again
        x, y = members.tensors(torch.device("cpu"))
        examples = pixels(x[:EVALUATION_BATCH], members)
        channels_last(module, examples[:1])
        for size in (1, len(examples)):
            with _in_words(name, f"in evaluation mode on a batch of {size}"), torch.no_grad():
                module.eval()(examples[:size])
        _rehearse_steps(recipe, module.train(), examples, y, len(members), name)


def _rehearse_steps(
    recipe: Recipe, module: nn.Module, examples: Tensor, y: Tensor, n: int, name: str
) -> None:
    """Take a step on a whole batch, on the last one and, under DP-SGD, on one and on none."""
    training = recipe.training
    mechanism = recipe.mechanism(n, training.epochs * ceil(n / training.batch_size))
    with _in_words(name, "before the first step"):
        mechanism.check(module, examples)
        forward = mechanism.attach(module, examples, seeds=[0])

    is_private = mechanism.privacy_spent() is not None
    whole = min(n, training.batch_size)
    last = n % training.batch_size or whole
    sizes = (whole, 1, 0) if is_private else (whole, last)

    for size in sizes:
        which = f"in training mode on a batch of {size:,}"
        if size == last < whole:
            which += f" (the last of an epoch: {n:,} members by {training.batch_size:,})"
        with _in_words(name, which):
            _step(mechanism, forward, examples[: min(size, LARGEST)], y, name)
            if recipe.penalty is not None:
                recipe.penalty(module).backward()
    mechanism.release()


def _step(
    mechanism: Mechanism, forward: Callable[..., Tensor], x: Tensor, y: Tensor, name: str
) -> None:
    start = 0

    def loss(part: Tensor) -> Tensor:
        nonlocal start
        labels, start = y[start : start + len(part)], start + len(part)
        logits = forward(part)
        if not logits.requires_grad:
            raise ModelError(
                f"model {name!r} has nothing to train: its logits do not depend on a parameter",
                remedy="leave out torch.no_grad and detach in forward",
            )
        return F.cross_entropy(logits.to(part.dtype), labels, reduction="none")

    mechanism.gradients(loss, x)


@contextlib.contextmanager
def _in_words(name: str, when: str) -> Iterator[None]:
    """Raise an error of the model as ModelError, with its own words and place, and ``when``."""
    try:
        yield
    except RaysweepError:
        raise
    except Exception as error:
        raise ModelError(
            f"model {name!r} failed {when}: {told(error)}",
            remedy="change the model, or the sizes of the batches",
        ) from error
