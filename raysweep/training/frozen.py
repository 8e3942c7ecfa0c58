"""Compute what the frozen part of a model makes of the members once, in place of in each step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

LARGEST = 2**30
"""The most bytes that features may take."""

Read = Callable[[Tensor], Tensor]
"""Gives the inputs (rows, ...) of the members whose numbers (rows,) it is given."""


def split_frozen(
    model: nn.Module, read: Read, n: int, *, batch: int
) -> tuple[nn.Module, Tensor] | None:
    """Return the rest of a model and the features (n, ...) that it is trained on; None without any.

    A child of the model is left out if none of its parameters is trained, if it is given the
    model's own input, and if nothing else reads that. This is tried on all ``n`` members: the rest
    must give the same logits of the features. It shares the model's parameters and buffers.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return None
    found = None
    while (part := _split_once(model, read, n, batch)) is not None:
        found = model, features = part
        read = _rows_of(features)
    return found


def _rows_of(features: Tensor) -> Read:
    return lambda rows: features[rows]


def _split_once(
    model: nn.Module, read: Read, n: int, batch: int
) -> tuple[nn.Module, Tensor] | None:
    """Return :func:`split_frozen` for the first child that can be left out."""
    for child in model.children():
        is_trained = any(parameter.requires_grad for parameter in child.parameters())
        if is_trained or isinstance(child, nn.Identity):
            continue
        try:
            with torch.no_grad():
                features = _features(model, child, read, torch.arange(n).split(batch))
                rest = None if features is None else _without(model, child)
                if rest is None or features is None:
                    continue
                if _agree(model, rest, read, features, torch.arange(n).split(batch)):
                    return rest.train(), features
        except Exception:  # a user's model may do anything with other inputs
            continue
        finally:
            model.train()
    return None


def _features(
    model: nn.Module, child: nn.Module, read: Read, parts: tuple[Tensor, ...]
) -> Tensor | None:
    """Return what a child makes of all members, (n, ...); None if it is not given the input."""
    given: list[Tensor] = []
    inputs = read(parts[0])
    hook = child.register_forward_pre_hook(lambda _child, args: given.extend(args))
    try:
        model.eval()(inputs)
    finally:
        hook.remove()
    if [id(one) for one in given] != [id(inputs)]:
        return None

    model.train()
    as_trained = copy.deepcopy(child)  # so that its own buffers may change
    first = as_trained(inputs)
    model.eval()
    n = sum(map(len, parts))
    if not isinstance(first, Tensor) or first[0].nbytes * n > LARGEST:
        return None
    features = torch.cat([child(read(rows)) for rows in parts])
    is_fixed = torch.equal(first, features[: len(first)]) and all(
        torch.equal(one, other)
        for one, other in zip(as_trained.buffers(), child.buffers(), strict=True)
    )
    return features if is_fixed else None


def _without(model: nn.Module, child: nn.Module) -> nn.Module:
    """Return a copy of a model without a child, which shares parameters and buffers."""
    memo: dict[int, object] = {id(tensor): tensor for tensor in _tensors(model)}
    return copy.deepcopy(model, memo | {id(child): nn.Identity()})


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _agree(
    model: nn.Module, rest: nn.Module, read: Read, features: Tensor, parts: tuple[Tensor, ...]
) -> bool:
    """Return whether the rest gives the logits of the model for every member."""
    model.eval()
    rest.eval()
    return all(torch.equal(model(read(rows)), rest(features[rows])) for rows in parts)
