"""What the inference model sees of a prediction."""

import numpy as np

from raysweep.attacks.membership.inference_model import _columns
from raysweep.testing.rules import CPU, mlp
from raysweep.training.loop import train


def test_it_sees_log_posteriors_in_the_range_that_it_learns_from(splits):
    target = train(mlp(32, "tanh", epochs=60), splits.members, seed=0, device=CPU)
    whole = target.activations(splits.members, "output")
    seen, labels = _columns(target, splits.members)
    assert float(whole.min()) < np.log(1e-7) < -16
    np.testing.assert_array_equal(seen, whole.clamp_min(np.log(1e-7)))
    np.testing.assert_array_equal(labels.numpy(), splits.members.labels)
