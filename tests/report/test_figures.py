import numpy as np
import pandas as pd
import pytest

from raysweep.records.objectives import Objectives
from raysweep.report import charts, figures

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


def labels(axis):
    return [tick.get_text() for tick in axis.get_ticklabels(which="both") if tick.get_text()]


def medians(trials):
    figure = charts.by_setting(trials, "dropout", ["accuracy"], is_log=False)
    (axes,) = figure.axes
    return {line.get_color(): len(line.get_xdata()) for line in axes.lines}


def test_trials_with_and_without_dp_have_medians_of_their_own_and_few_have_none():
    n = 24
    trials = pd.DataFrame({"dropout": np.linspace(0, 0.5, n), "accuracy": 0.5, "on_front": False})
    mixed = trials.assign(epsilon=np.where(np.arange(n) % 2, 2.0, np.inf))
    assert medians(mixed) == {charts.MEDIANS[kind][0]: 2 for kind in ("without DP", "DP-SGD")}
    four = mixed.head(8)
    assert set(medians(four).values()) == {0}


def test_a_narrow_logarithmic_axis_has_plain_numbers_and_none_at_the_side():
    x = [1.8e-5, 1e-3, 2e-3, 0.0, 6.0e-4]
    trials = pd.DataFrame({"l2": x, "accuracy": 0.5, "on_front": False, "epsilon": np.inf})
    figure = charts.by_setting(trials, "l2", ["accuracy"], is_log=True)
    figure.draw_without_rendering()
    assert labels(figure.axes[0].xaxis) == ["0.0001", "0.001"]
    narrow = trials.assign(l2=[6.1, 7.0, 11.0, 6.4, 7.5])
    figure = charts.by_setting(narrow, "l2", ["accuracy"], is_log=True)
    figure.draw_without_rendering()
    assert {"7", "8", "10"} <= {*labels(figure.axes[0].xaxis)}


def test_the_colours_of_epsilon_are_labelled_at_both_ends(trials):
    figure = figures.pareto_front(trials, trials.iloc[:4], OBJECTIVES, title="a title")
    figure.draw_without_rendering()
    (bar,) = [axes for axes in figure.axes if "epsilon (" in axes.get_ylabel()]
    shown = labels(bar.yaxis)
    assert (shown[0], shown[-1]) == ("1", "16")
