"""Refuse models whose layers break DP-SGD's guarantee, such as BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from raysweep.errors import PrivacyError
from raysweep.models.structure import is_known


def refuse_unsafe_layers(model: nn.Module) -> None:
    """Raise :class:`PrivacyError` if a layer breaks the guarantee of DP-SGD, and name the layer.

    ``model`` is in training mode, as its own ``train`` sets it. A BatchNorm that is nevertheless in
    evaluation mode normalises by frozen statistics, and mixes nothing.
    """
    if is_known(model):
        return
    for name, layer in model.named_modules():
        for reason, remedy in _unsafe(layer):
            raise PrivacyError(
                f"DP-SGD: layer {name!r} is {type(layer).__name__}, which {reason}", remedy=remedy
            )


def _unsafe(layer: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield why a layer breaks the guarantee, and a remedy."""
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        groups = f"use nn.GroupNorm(num_groups, {layer.num_features}) in its place"
        if layer.training or layer.running_mean is None:
            frozen = "or freeze it: the model's own train() must leave it in evaluation mode"
            yield "mixes the examples of a batch", f"{groups}, {frozen}"
    elif isinstance(layer, nn.modules.instancenorm._InstanceNorm):
        if layer.track_running_stats and layer.training:
            yield "keeps statistics of the examples", "set track_running_stats=False"
    elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        if layer.max_norm is not None:
            yield "changes its weights where an example reads them", "leave max_norm out"
        if layer.sparse:
            yield "has sparse gradients, which tell what the examples read", "leave sparse out"
