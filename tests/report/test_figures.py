import numpy as np
import pandas as pd
import pytest

from raysweep.records.objectives import Objectives
from raysweep.report import figures

OBJECTIVES = Objectives.of("accuracy", "attack_auc", "inversion_mse")


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    n = 12
    return pd.DataFrame(
        {
            "trial_id": [f"t{i}" for i in range(n)],
            "number": range(n),
            "epsilon": np.where(np.arange(n) % 3, 2.0 ** (np.arange(n) % 5), np.inf),
            "accuracy": rng.uniform(0.5, 0.9, n),
            "attack_auc": rng.uniform(0.5, 0.7, n),
            "inversion_mse": rng.uniform(0.01, 0.05, n),
        }
    )


@pytest.mark.parametrize("names", [["accuracy", "attack_auc"], list(OBJECTIVES.names)])
def test_the_front_is_drawn_in_every_pair_of_objectives(trials, names):
    objectives = Objectives.of(*names)
    figure = figures.pareto_front(trials, trials.iloc[:4], objectives, title="a title")
    drawn = [axes for axes in figure.axes if axes.get_xlabel() or len(axes.collections) > 1]
    n_pairs = len(names) * (len(names) - 1) // 2
    assert len([a for a in drawn if a.get_xlabel()]) == n_pairs
    for axes in drawn[:n_pairs]:
        assert sum(len(c.get_offsets()) for c in axes.collections) == len(trials)
    assert figures.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("epsilon", [np.inf, 2.0])
def test_a_front_with_or_without_dp_alone_is_drawn(trials, epsilon):
    same = trials.assign(epsilon=epsilon)
    figure = figures.pareto_front(same, same.iloc[:1], OBJECTIVES, title="one kind")
    assert figures.png(figure).startswith(b"\x89PNG")
