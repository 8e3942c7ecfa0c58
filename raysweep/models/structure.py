"""Tell which models are made of known layers alone, so that their layers say what they compute."""

from __future__ import annotations

from torch import nn

KNOWN = {
    *(nn.Sequential, nn.ModuleList, nn.Identity, nn.Linear, nn.Conv2d, nn.GroupNorm),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.LogSigmoid),
    *(nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten),
}
"""Layers of torch that treat every example by itself, on inputs (n, ...)."""


def is_known(model: nn.Module) -> bool:
    """Return whether each layer is known, unchanged, and used exactly once with its own weights.

    Such a model treats every example by itself, and a layer's parameters act in its own call alone.
    Nothing of the kind follows from the layers of a module with a ``forward`` of the user's.
    """
    modules = [module for _, module in model.named_modules(remove_duplicate=False)]
    parameters = [p for _, p in model.named_parameters(remove_duplicate=False)]
    once = len({*map(id, modules)}) == len(modules) and len({*map(id, parameters)}) == len(
        parameters
    )
    return once and all(_is_ours(module) or _is_unchanged(module) for module in modules)


def _is_ours(module: nn.Module) -> bool:
    """Return whether the module's class is one of raysweep's."""
    package = __name__.partition(".")[0]
    return type(module).__module__.startswith(f"{package}.") and not has_hooks(module)


def _is_unchanged(module: nn.Module) -> bool:
    """Return whether a module is one of KNOWN, exactly as torch made it."""
    if type(module) not in KNOWN or "forward" in vars(module) or has_hooks(module):
        return False
    return not isinstance(module, nn.Flatten) or (module.start_dim, module.end_dim) == (1, -1)


def has_hooks(module: nn.Module) -> bool:
    """Return whether somebody registered a hook, as pruning and weight normalisation do."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks)
