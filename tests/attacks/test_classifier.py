"""The classifier by hand, against the same by autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from raysweep.attacks import metrics
from raysweep.attacks.membership import classifier


def shifted(n, gap, seed):
    """Two clouds of points, the members' shifted by ``gap`` in the first of three numbers."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(2 * n, 3))
    truth = np.repeat([True, False], n)
    features[truth, 0] += gap
    return features, truth


def by_autograd(features, truth, hidden, seed, steps):
    """Return the log-odds of the same network after as many of torch's own Adam steps."""
    network = classifier.Network(features.shape[1] + 1, hidden, seed=seed)
    values = torch.from_numpy(network.values.copy()).requires_grad_()
    x = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    x = torch.from_numpy(np.c_[x, np.ones(len(x))]).float()
    y = torch.from_numpy(truth).float()
    weight = torch.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    cut = x.shape[1] * hidden

    def odds():
        if not hidden:
            return x @ values
        units = (x @ values[:cut].view(hidden, -1).T).relu()
        return units @ values[cut:-1] + values[-1]

    optimizer = torch.optim.Adam([values], lr=0.01 if hidden else 0.1, weight_decay=1e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(odds(), y, weight=weight).backward()
        optimizer.step()
    return odds().detach().numpy()


@pytest.mark.parametrize("hidden", [0, 64])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_a_fit_is_that_of_autograd(hidden, share, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 30)  # rounding grows with the steps
    features, truth = shifted(100, 1.0, seed=0)
    rows = np.arange(200) >= int(100 * (1 - share))
    found = classifier.fit_classifier(features[rows], truth[rows], hidden=hidden, seed=3)(
        features[rows]
    )
    slow = by_autograd(features[rows], truth[rows], hidden, 3, 30)
    np.testing.assert_allclose(found, slow, atol=1e-4)


@pytest.mark.parametrize("hidden", [0, 64])
def test_it_finds_the_shift_between_two_clouds(hidden):
    known, fresh = shifted(500, 1.5, seed=0), shifted(500, 1.5, seed=1)
    score = classifier.fit_classifier(*known, hidden=hidden, seed=0)(fresh[0])
    assert metrics.auc(score, fresh[1]) == pytest.approx(0.856, abs=0.03)  # Phi(1.5 / sqrt 2)
    assert np.mean(score[fresh[1]] > 0) == pytest.approx(np.mean(score[~fresh[1]] < 0), abs=0.1)


def test_both_classes_weigh_the_same_whatever_their_sizes():
    features, truth = shifted(2000, 0.0, seed=0)
    rows = np.r_[np.arange(2000), np.arange(2000, 2100)]  # twenty members to a nonmember
    score = classifier.fit_classifier(features[rows], truth[rows], hidden=0, seed=0)(features)
    assert np.mean(score > 0) == pytest.approx(0.5, abs=0.25)
    assert np.abs(score).mean() < 0.5
