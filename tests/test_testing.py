"""What raysweep.testing finds in a user's model; the catalogues' tests use it for the rest."""

import pytest
import torch
from torch import nn

from raysweep.testing import BrokenRule, check_model


class MixesInTraining(nn.Module):
    def __init__(self, shape, n_classes):
        super().__init__()
        self.hidden, self.output = nn.Linear(64, 16), nn.Linear(16, n_classes)

    def forward(self, x):
        x = x.flatten(1)
        x = x - x.mean(0) if self.training else x
        return self.output(torch.tanh(self.hidden(x)))


def test_a_model_that_mixes_its_batch_in_training_is_none_that_dp_sgd_can_train():
    check_model(MixesInTraining)
    with pytest.raises(BrokenRule, match=r"DP-SGD can train it; found: .*in training mode"):
        check_model(MixesInTraining, private=True)
