"""Try the steps of a training in which a user's model may fail, before the training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysweep.config.user_errors import told
from raysweep.data import Split
from raysweep.errors import ModelError, RaysweepError
from raysweep.models import check_logits
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
        is_frozen = any(True for _ in module.parameters())
        raise ModelError(
            f"model {name!r} has nothing to train: "
            + ("no parameter requires a gradient" if is_frozen else "it has no parameters"),
            remedy="leave at least one layer without requires_grad_(False)"
            if is_frozen
            else "its weights must be nn.Parameter, and its layers attributes or in nn.ModuleList",
        )

    with isolated_rng(0, torch.device("cpu")):
        again = recipe.build_model(members.shape, members.n_classes)  # refuses the same module
        _refuse_other(module, again, name)
        x, y = members.tensors(torch.device("cpu"))
        examples = pixels(x[:EVALUATION_BATCH], members)
        channels_last(module, examples[:1])
        channels_last(again, examples[:1])
        for size in (1, len(examples)):
            with _in_words(name, f"in evaluation mode on a batch of {size}"), torch.no_grad():
                logits = module.eval()(examples[:size].clone())
        check_logits(name, logits, (len(examples), members.n_classes), " in evaluation mode")
        _refuse_not_finite(logits, name)
        _rehearse_steps(recipe, module.train(), again.train(), examples, y, members, name)


def _refuse_other(module: nn.Module, again: nn.Module, name: str) -> None:
    """Raise :class:`ModelError` unless two modules have the same parameters and buffers."""
    one, other = ({key: _form(v) for key, v in m.state_dict().items()} for m in (module, again))
    for key in {**one, **other}:
        if one.get(key) != other.get(key):
            raise ModelError(
                f"model {name!r} is another one when it is built again: {key!r} is "
                f"{one.get(key, 'missing')}, then {other.get(key, 'missing')}",
                remedy="build it from shape, n_classes and the parameters alone",
            )

    memory = {p.untyped_storage().data_ptr() for p in module.parameters() if p.requires_grad}
    for key, p in again.named_parameters():
        if p.requires_grad and p.numel() and p.untyped_storage().data_ptr() in memory:
            raise ModelError(
                f"model {name!r} keeps {key!r} in the same memory when it is built again, so that "
                "one training would change the next",
                remedy="make new weights in each call, or give it a copy (p.clone())",
            )


def _form(value: object) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else "no tensor"


def _rehearse_steps(
    recipe: Recipe,
    module: nn.Module,
    again: nn.Module,
    examples: Tensor,
    y: Tensor,
    members: Split,
    name: str,
) -> None:
    """Take a step on a whole batch, on the last one and, under DP-SGD, on one and on none.

    ``again`` is the same model, never called in training mode: what a first call keeps of its
    batch is found there.
    """
    training, n = recipe.training, len(members)
    mechanism = recipe.mechanism(n)
    whole = min(n, training.batch_size)
    last = n % training.batch_size or whole

    with _in_words(name, f"in training mode on a batch of {whole:,}"):
        _check_trains(module, examples[: min(whole, LARGEST)], members.n_classes, name)
    with _in_words(name, "before the first step"):
        mechanism.check(again, examples)
        forward = mechanism.attach(module, examples, seeds=[0])

    is_private = mechanism.privacy_spent() is not None
    sizes = (whole, 1, 0) if is_private else (whole, last)
    for size in sizes:
        which = f"in training mode on a batch of {size:,}"
        if size == last < whole:
            which += f" (the last of an epoch: {n:,} members by {training.batch_size:,})"
        with _in_words(name, which):
            _step(mechanism, forward, examples[: min(size, LARGEST)], y)
            if recipe.penalty is not None:
                recipe.penalty(module).backward()
    mechanism.release()


def _check_trains(module: nn.Module, x: Tensor, n_classes: int, name: str) -> None:
    """Raise :class:`ModelError` unless a step has finite logits that a parameter can change.

    The model must leave its input ``x`` (n, *shape) as it is: the same examples are used again.
    """
    given = x.clone()
    logits = module(given)
    check_logits(name, logits, (len(x), n_classes), " in training mode")
    if not given.equal(x):
        raise ModelError(
            f"model {name!r} changes its input in place",
            remedy="write x = x - 0.5, not x -= 0.5, and no inplace=True on the input",
        )
    if not logits.requires_grad:
        raise ModelError(
            f"model {name!r} has nothing to train: its logits do not depend on a parameter",
            remedy="leave out torch.no_grad and detach in forward",
        )
    _refuse_not_finite(logits, name)


def _refuse_not_finite(logits: Tensor, name: str) -> None:
    """Raise :class:`ModelError` where the logits (n, classes) of members are not finite."""
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        raise ModelError(
            f"model {name!r} gives logits that are not finite numbers for {int(broken.sum()):,} of "
            f"{len(logits):,} members, before any training",
            remedy="change what the model computes for these members, or leave them out",
        )


def _step(mechanism: Mechanism, forward: Callable[..., Tensor], x: Tensor, y: Tensor) -> None:
    start = 0

    def loss(part: Tensor) -> Tensor:
        nonlocal start
        labels, start = y[start : start + len(part)], start + len(part)
        return F.cross_entropy(forward(part).to(part.dtype), labels, reduction="none")

    mechanism.gradients(loss, x)


@contextlib.contextmanager
def _in_words(name: str, when: str) -> Iterator[None]:
    """Raise an error of the model as ModelError, with its own words and place, and ``when``."""
    try:
        yield
    except (RaysweepError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit, which argparse raises
        raise ModelError(
            f"model {name!r} failed {when}: {told(error)}",
            remedy="change the model, or the sizes of the batches",
        ) from error
