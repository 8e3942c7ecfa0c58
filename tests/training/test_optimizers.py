"""The optimizers step as torch's classes do, and import no compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from raysweep.training.optimizers import SGD, Adam

TWINS = {
    "sgd": (SGD, torch.optim.SGD, {}),
    "momentum": (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    "adam": (Adam, torch.optim.Adam, {"weight_decay": 0.1}),
    "amsgrad": (Adam, torch.optim.Adam, {"amsgrad": True}),
}


def walk(make, parameters, **settings):
    optimizer = make(parameters, 0.1, **settings)
    for step in range(5):
        optimizer.zero_grad()
        (parameters[0].sin() * (step + 1)).sum().backward()  # the other one has no gradient
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in parameters])


@pytest.mark.parametrize("name", TWINS)
def test_each_steps_as_its_twin_of_torch(name):
    own, twin, settings = TWINS[name]
    drawn = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    walked, expected = (
        walk(make, [nn.Parameter(x.clone()) for x in drawn], **more, **settings)
        for make, more in ((own, {}), (twin, {"fused": True}))
    )
    assert not torch.equal(walked[:12], drawn[0].flatten())
    assert torch.equal(walked, expected)


def test_a_trial_does_not_import_the_compiler():
    told = """
import sys
import raysweep
space = raysweep.load_space("search_spaces/quickstart.yaml")
raysweep.run_trial(space.config({"epsilon": 8, "training.epochs": 1}))
raysweep.run_trial(space.config({"training.epochs": 1}))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
