"""Refuse models in which an example depends on others: on its batch, or on earlier batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from raysweep.config.user_errors import told
from raysweep.defences.dpsgd.chance import restart_chance, without_chance
from raysweep.errors import ModelError, PrivacyError

SIZES = (2, 3, 5, 16, 256)
"""Sizes of the batches that are tried. No training and no attack evaluates more than the last."""

ROWS = 8
"""Most examples of a batch that are compared with themselves, evaluated alone."""


def refuse_mixing(model: nn.Module, examples: Tensor) -> None:
    """Raise :class:`PrivacyError` when an example's logits depend on other examples.

    ``examples`` (n, *shape) are real members. Batches of several sizes, of members and of changed
    members, are compared with their examples alone, in training and in evaluation mode, without
    chance. What the model keeps between two calls is found too: in an attribute by its logits, in
    a buffer or a parameter by its values.
    """
    before = copy_of_tensors(model)
    was_training = model.training
    try:
        with without_chance(examples.device):
            for training in (True, False):
                model.train(training)
                _refuse_memory(model, examples)
                refuse_changed_tensors(model, before)
                for batch in _batches(examples):
                    _compare(model, batch)
                refuse_changed_tensors(model, before)
                _refuse_gradients_of_others(model, examples[:5])
    finally:
        model.train(was_training)


def _batches(examples: Tensor) -> Iterator[Tensor]:
    """Yield a batch of each of SIZES: members in their order, followed by changed members."""
    generator = torch.Generator().manual_seed(0)
    for size in SIZES:
        members = examples[: size // 2 + 1]
        order = torch.randperm(len(members), generator=generator)
        noise = torch.rand(size, *examples.shape[1:], generator=generator).to(examples)
        scale = torch.rand(size, *(1,) * (examples.dim() - 1), generator=generator).to(examples)
        noise = noise * scale
        noise[-1:] = 0
        if size > 2:
            noise[-2:-1] = 1
        yield torch.cat([members[order], noise[len(members) :]])[:size]


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of ``x``, with the draws of chance that every other call has."""
    restart_chance(x.device)
    try:
        with torch.no_grad():
            logits: Tensor = model(x)
            return logits.clone()
    except Exception as error:
        mode = "training" if model.training else "evaluation"
        raise ModelError(
            f"DP-SGD: the model failed in {mode} mode on a batch of {len(x)}: {told(error)}",
            remedy="a model under DP-SGD must take every batch, and each example alone",
        ) from error


def _compare(model: nn.Module, batch: Tensor) -> None:
    """Raise :class:`PrivacyError` unless the examples of ``batch`` have the same logits alone."""
    n = len(batch)
    rows = sorted({round(i * (n - 1) / (ROWS - 1)) for i in range(ROWS)})
    together = _logits(model, batch)
    alone = torch.cat([_logits(model, batch[row : row + 1]) for row in rows])
    if together.shape[0] != n or not is_close(together[rows], alone):
        mode = "training" if model.training else "evaluation"
        raise PrivacyError(
            "DP-SGD: an example's logits depend on the other examples of its batch "
            f"(in {mode} mode, in a batch of {n})",
            remedy="the model must treat every example by itself",
        )


def is_close(one: Tensor, other: Tensor) -> bool:
    """Return whether logits are equal up to rounding; what is no number equals its like."""
    precision = torch.finfo(one.dtype).eps if one.is_floating_point() else 0.0
    finite = other[other.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    tolerance = min(0.05, 1000 * precision) * scale + precision
    return torch.allclose(one, other, rtol=0.0, atol=tolerance, equal_nan=True)


def _refuse_gradients_of_others(model: nn.Module, x: Tensor) -> None:
    """Raise :class:`PrivacyError` when an example's logits have a gradient by another example.

    It is exactly 0 in a model that treats every example by itself, so this finds the least mixing.
    """
    leaf = x.clone().requires_grad_()
    restart_chance(x.device)
    try:
        logits = model(leaf * 1)
        weights = torch.arange(logits.shape[1], device=x.device).to(logits.dtype).cos()
        rows = (logits * weights).sum(1)
        gradients = [
            torch.autograd.grad(row, leaf, retain_graph=True, allow_unused=True)[0] for row in rows
        ]
    except RuntimeError:  # not differentiable by its input: the logits alone were compared
        return

    for i, gradient in enumerate(gradients):
        if gradient is None:
            continue
        others = torch.cat([gradient[:i], gradient[i + 1 :]])
        if bool(((others != 0) & others.isfinite()).any()):
            raise PrivacyError(
                "DP-SGD: an example's gradient depends on the other examples of its batch",
                remedy="the model must treat every example by itself",
            )


def _refuse_memory(model: nn.Module, examples: Tensor) -> None:
    """Raise :class:`PrivacyError` when an example's logits change with the calls in between."""
    first = _logits(model, examples[:1])
    for batch in (examples[1:6], examples[:1] * 0, examples[:16]):
        _logits(model, batch)
    if not is_close(_logits(model, examples[:1]), first):
        raise PrivacyError(
            "DP-SGD: the same example has other logits when the model is called again: the model "
            "keeps something of earlier batches, or draws chance that torch, NumPy and Python "
            "do not seed",
            remedy="keep nothing between two calls",
        )


def copy_of_tensors(model: nn.Module, *, trained: bool = True) -> dict[str, Tensor]:
    """Return a copy of every buffer and parameter; unless ``trained``, of those no step changes."""
    kept: dict[str, Tensor] = {
        name: p for name, p in model.named_parameters() if trained or not p.requires_grad
    }
    kept.update(model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in kept.items()}


def refuse_changed_tensors(model: nn.Module, before: dict[str, Tensor]) -> None:
    """Raise :class:`PrivacyError` when a buffer or a parameter of ``before`` is not what it was."""
    buffers = dict(model.named_buffers())
    for name, buffer in buffers.items():
        if name not in before or not _are_equal(buffer, before[name]):
            raise PrivacyError(
                f"buffer {name!r} changed in training: it releases data without noise",
                remedy="use layers that keep no statistics, such as GroupNorm",
            )
    for name, parameter in model.named_parameters():
        if name in before and not _are_equal(parameter, before[name]):
            raise PrivacyError(
                f"the model itself changed its parameter {name!r} when it was called: it releases "
                "data without noise",
                remedy="let gradients alone change parameters",
            )


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same elements, where not-a-number equals itself."""
    if one.shape != other.shape:
        return False
    both_missing = (one != one) & (other != other)
    return bool(((one == other) | both_missing).all())
