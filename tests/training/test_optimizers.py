"""The optimizers give the results of torch's classes, and import no compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from raysweep.training.optimizers import make_adam, make_sgd

OPTIMIZERS = {
    "sgd": (make_sgd, torch.optim.SGD, {}),
    "momentum": (make_sgd, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    "adam": (make_adam, torch.optim.Adam, {"weight_decay": 0.1}),
    "amsgrad": (make_adam, torch.optim.Adam, {"amsgrad": True}),
}


def parameters_after_five_steps(make, parameters, **settings):
    optimizer = make(parameters, 0.1, **settings)
    for step in range(5):
        optimizer.zero_grad()
        (parameters[0].sin() * (step + 1)).sum().backward()  # the second parameter has no gradient
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in parameters])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_gives_the_parameters_of_torchs_class(name):
    ours, theirs, settings = OPTIMIZERS[name]
    start = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    actual, expected = (
        parameters_after_five_steps(
            make, [nn.Parameter(x.clone()) for x in start], **more, **settings
        )
        for make, more in ((ours, {}), (theirs, {"fused": True}))
    )
    assert not torch.equal(actual[:12], start[0].flatten())
    assert torch.equal(actual, expected)


@pytest.mark.slow
@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14),
    reason="older versions import it themselves (seen with torch 2.6): only the start is slower",
)
def test_a_trial_does_not_import_torchs_compiler():
    script = """
import sys
import raysweep
space = raysweep.load_space("search_spaces/quickstart.yaml")
raysweep.run_trial(space.config({"epsilon": 8, "training.epochs": 1}))
raysweep.run_trial(space.config({"training.epochs": 1}))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
