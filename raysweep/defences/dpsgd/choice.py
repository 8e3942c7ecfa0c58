"""Choose how the gradients of a model are clipped, and check the choice against plain autograd."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from raysweep.defences.dpsgd.alone import LoopClipping, VmapClipping
from raysweep.defences.dpsgd.chance import without_chance
from raysweep.defences.dpsgd.clipping import Clipping, LayerwiseClipping
from raysweep.defences.dpsgd.probe import Probed, probe
from raysweep.errors import PrivacyError
from raysweep.models.structure import is_known
from raysweep.training.packed_models import PackedModels

CHECKED = 4
"""Members whose gradients are computed twice, by the chosen way and one by one."""

TOLERANCE = 1e-3
"""Largest difference of the two sums of a parameter, by the norm of the second."""

VMAP_REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError)
"""What torch raises where it has no vmap for what a model does."""


def clipping(model: nn.Module, examples: Tensor, max_grad_norm: float) -> Clipping:
    """Return the fastest clipping that computes the gradients of ``model``.

    Models of known layers, each with a rule, are clipped layer by layer. In any other model each
    example is evaluated alone: by ``vmap``, with rules for the layers that have one, or one after
    the other where ``vmap`` fails. The choice is held against the sum that autograd gives for the
    first CHECKED of ``examples`` (n, *shape), one by one.

    Raises:
        PrivacyError: the sums of a model of known layers differ; the message names the parameter.

    """
    is_packed, known = isinstance(model, PackedModels), is_known(model)
    probed = probe(model, examples[:1] if not is_packed else examples, training=not known)
    if not (known and probed.is_complete):
        return _alone(model, probed, examples[:CHECKED], max_grad_norm)

    if not is_packed:  # one of its models was checked
        _refuse_wrong(model, examples[:CHECKED], max_grad_norm)
    return _layerwise(model, probed, max_grad_norm)


def _layerwise(model: nn.Module, probed: Probed, max_grad_norm: float) -> LayerwiseClipping:
    layers = dict(model.named_modules())
    rules = {layers[name]: rule for name, rule in probed.rules.items()}
    return LayerwiseClipping(
        model, rules, max_grad_norm, probed.bytes_per_example, copies=probed.works_in_place
    )


def _refuse_wrong(model: nn.Module, x: Tensor, max_grad_norm: float) -> None:
    """Raise :class:`PrivacyError` for the first parameter whose sum is not that of autograd.

    A unit of a ReLU that is nearly 0, or two nearly equal units of a pool, may be on one side in a
    batch and on the other side alone, by rounding. So sums that differ are computed again in
    float64, in which such a unit is as good as never found.
    """
    if not _wrong_layerwise(model, x, max_grad_norm):
        return
    wrong = _wrong_layerwise(copy.deepcopy(model).double(), x.double(), max_grad_norm)
    if wrong:
        raise PrivacyError(
            f"DP-SGD: the clipped gradients of {wrong[0]!r} are not those of autograd",
            remedy="this is a fault of raysweep: please report the model",
        )


def _wrong_layerwise(model: nn.Module, x: Tensor, max_grad_norm: float) -> list[str]:
    """Return the parameters whose sum by the rules of their layers is not that of autograd."""
    expected = _sums(LoopClipping(model, max_grad_norm), model, x)
    way = _layerwise(model, probe(model, x[:1], training=False), max_grad_norm)
    try:
        return wrong_sums(way, model, x, expected)
    finally:
        way.release()


def _alone(model: nn.Module, probed: Probed, x: Tensor, max_grad_norm: float) -> Clipping:
    """Return the fastest way to clip each example alone that agrees with autograd."""
    loop = LoopClipping(model, max_grad_norm)
    expected = _sums(loop, model, x)

    for candidate in _fewer_and_fewer_rules(probed):
        way = VmapClipping(model, candidate, max_grad_norm)
        try:
            if not wrong_sums(way, model, x, expected):
                return way
        except torch.OutOfMemoryError:
            raise
        except VMAP_REFUSALS:  # the loop has already shown that the model itself works
            pass
        way.release()
    return loop


def _fewer_and_fewer_rules(probed: Probed) -> Iterator[Probed]:
    """Yield all rules, and none: a layer's weight may act outside its own call."""
    yield probed
    if probed.rules:
        yield Probed()


def wrong_sums(
    way: Clipping, model: nn.Module, x: Tensor, expected: dict[str, Tensor]
) -> list[str]:
    """Return the parameters whose sum of clipped gradients of ``x`` is not ``expected``."""
    found = _sums(way, model, x)
    total = sum(float(e.square().sum()) for e in expected.values()) ** 0.5
    return [
        name
        for name, e in expected.items()
        if not float((found[name] - e).norm()) <= TOLERANCE * float(e.norm()) + 1e-5 * total
        and bool(e.isfinite().all())
    ]


def _sums(way: Clipping, model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return each parameter's sum of clipped gradients, of a loss that never saturates."""

    def loss(part: Tensor) -> Tensor:
        logits = way.forward(part)
        return logits @ torch.arange(logits.shape[1], device=x.device).to(logits.dtype).cos()

    was_training = model.training
    model.train()
    try:
        with without_chance(x.device):
            way.add(loss, x)
    finally:
        model.train(was_training)

    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: total.detach().float() for p, total in way.take()}
