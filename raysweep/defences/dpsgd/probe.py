"""Find the layers of a model whose gradients a rule can compute, by running the model once."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.defences.dpsgd.chance import without_chance
from raysweep.defences.dpsgd.layer_rules import Rule
from raysweep.defences.dpsgd.rules import RULES, rule_of
from raysweep.models.structure import has_hooks


@dataclass(kw_only=True)
class Probed:
    """The rules of a model's layers, and what they need.

    - ``rules``: of each layer that has a rule and is called once, by its name.
    - ``shapes``: of the layer's output for one example.
    - ``is_complete``: whether every parameter that is trained belongs to one of these layers.
    - ``bytes_per_example``: that the rules hold.
    - ``works_in_place``: whether a later layer overwrote an input or output, as
      ReLU(inplace=True) does.
    """

    rules: dict[str, type[Rule]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    is_complete: bool = False
    bytes_per_example: int = 1
    works_in_place: bool = False


def probe(model: nn.Module, example: Tensor, *, training: bool) -> Probed:
    """Return what one run on ``example`` (n, *shape) in this mode shows."""
    calls: dict[str, list[tuple[Any, Any]]] = {}
    candidates = _candidates(model)
    versions: list[tuple[Tensor, int]] = []

    def observe(name: str) -> Any:
        def hook(_layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls.setdefault(name, []).append((inputs, output))
            tensors = [x for x in (*inputs[:1], output) if isinstance(x, Tensor)]
            versions.extend((x, x._version) for x in tensors)

        return hook

    hooks = [layer.register_forward_hook(observe(name)) for name, layer in candidates.items()]
    was_training = model.training
    try:
        with torch.no_grad(), without_chance(example.device):
            model.train(training)(example)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()

    probed = Probed()
    for name, seen in calls.items():
        _add_rule(probed, name, candidates[name], seen)
    ruled = {id(p) for name in probed.rules for p in candidates[name].parameters(False)}
    probed.is_complete = ruled == {id(p) for p in model.parameters() if p.requires_grad}
    probed.works_in_place = any(x._version != version for x, version in versions)
    return probed


def _candidates(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of a type with a rule, with parameters of their own, unchanged by hooks."""
    named = [*model.named_parameters(remove_duplicate=False)]
    uses = Counter(id(parameter) for _, parameter in named)

    def is_candidate(layer: nn.Module) -> bool:
        own = [*layer.parameters(False)]
        is_plain = not has_hooks(layer) and "forward" not in vars(layer)
        return bool(own) and is_plain and all(uses[id(p)] == 1 for p in own)

    return {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) in RULES and is_candidate(layer)
    }


def _add_rule(probed: Probed, name: str, layer: nn.Module, seen: list[tuple[Any, Any]]) -> None:
    """Add the rule of a layer that was called once, with a tensor, and gave a tensor."""
    inputs, output = seen[0]
    if len(seen) > 1 or len(inputs) != 1 or not isinstance(inputs[0], Tensor):
        return
    rule = rule_of(layer, inputs[0])
    if rule is None:
        return

    shapes = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
    probed.rules[name], probed.shapes[name] = rule, shapes[1]
    activations = 8 * sum(map(math.prod, shapes))  # input, output and their gradients
    probed.bytes_per_example += activations + rule.bytes_per_example(layer, *shapes)
