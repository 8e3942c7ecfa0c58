"""Comparison with the baseline, on tables with simple figures."""

import math

import numpy as np
import pandas as pd
import pytest
from comparison import add_changes, best_within, compare, is_neutral, summary

from raysweep import defences
from raysweep.errors import StoreError


def a_table(*rows):
    neutral = {**defences.neutral(), "target_epsilon": math.inf, "noise_multiplier": 0.0}
    place = {"dataset": "digits", "model": "mlp", "seed": 0}
    return pd.DataFrame([{**neutral, **place, **row} for row in rows])


def test_changes_are_against_the_baseline_of_the_same_data_model_and_seed():
    table = a_table(
        {"accuracy": 0.8},
        {"accuracy": 0.9, "seed": 1},
        {"accuracy": 0.6, "dropout": 0.5},
        {"accuracy": 0.9, "dropout": 0.5, "seed": 1},
        {"accuracy": 0.9, "dropout": 0.5, "seed": 2},
    )
    changes = add_changes(table, ["accuracy"])["change_accuracy"]
    np.testing.assert_allclose(changes, [0, 0, -0.2 / 0.85, 0, np.nan])


def test_a_baseline_near_zero_in_one_seed_does_not_decide():
    table = a_table(
        {"advantage": 0.001},
        {"advantage": 0.199, "seed": 1},
        {"advantage": 0.051, "dropout": 0.5},
        {"advantage": 0.149, "dropout": 0.5, "seed": 1},
    )
    changes = add_changes(table, ["advantage"])["change_advantage"]
    np.testing.assert_allclose(changes, [0, 0, 0.5, -0.5])


def test_changes_can_be_against_a_scenario_instead_of_the_baseline():
    table = a_table(
        {"accuracy": 0.8, "scenario": "baseline"},
        {"accuracy": 0.6, "scenario": "l2", "l2": 0.1},
        {"accuracy": 0.9, "scenario": "both", "l2": 0.1, "dropout": 0.5},
    )
    changes = add_changes(table, ["accuracy"], scenario="l2")["change_accuracy"]
    np.testing.assert_allclose(changes, [1 / 3, 0, 0.5])


def test_a_setting_other_than_a_strength_leaves_a_trial_neutral():
    table = a_table({"l2_scope": "all", "delta": 1e-6}, {"l2": 0.1}, {"target_epsilon": 2.0})
    assert is_neutral(table).tolist() == [True, False, False]
    assert is_neutral(a_table({"noise_multiplier": 0.4})).tolist() == [False]


@pytest.mark.parametrize(
    "key",
    [
        "distillation_temperature",
        "label_smoothing",
        "dropout",
        "spatial_dropout",
        "random_crop",
        "gaussian_noise",
        "l2",
        "early_stopping",
        "adversarial_regularisation",
    ],
)
def test_a_trial_with_any_defence_is_not_neutral(key):
    assert is_neutral(a_table({key: 2})).tolist() == [False]


def test_a_figure_that_no_trial_has_does_not_lower_the_number_of_trials():
    table = a_table(*({"accuracy": x, "gap": math.nan} for x in (1.0, 2.0)))
    assert summary(table, ["dropout"], ["accuracy", "gap"])["n"].tolist() == [2]


def test_a_comparison_without_a_baseline_is_refused():
    with pytest.raises(StoreError, match="no finished baseline"):
        add_changes(a_table({"dropout": 0.5, "accuracy": 0.5}), ["accuracy"])


def test_the_interval_of_a_mean_is_by_students_t():
    table = a_table(*({"accuracy": x} for x in (1.0, 2.0, 3.0)), {"accuracy": 5.0, "dropout": 0.1})
    means = summary(table, ["dropout"], ["accuracy"])
    assert means["accuracy"].tolist() == [2.0, 5.0]
    assert means["accuracy_pm"].iloc[0] == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert math.isnan(means["accuracy_pm"].iloc[1])
    assert means["n"].tolist() == [3, 1]


def test_the_best_row_within_a_drop_has_the_least_figure_and_costs_no_more():
    table = pd.DataFrame(
        {
            "scenario": ["a", "a", "a", "b"],
            "change_accuracy": [-0.01, -0.04, -0.2, -0.2],
            "advantage": [0.3, 0.1, 0.0, 0.0],
        }
    )
    best = best_within(table, "scenario", "advantage", 0.05)
    assert best["advantage"].tolist() == [0.1]


def test_a_missing_figure_is_printed_as_not_run():
    assert compare(float("nan"), 80.1, unit=" %") == "not run | 80.1 % | -"
