"""The sentences of the report: no difference is claimed that the intervals do not support."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from raysweep.records.objectives import Objectives
from raysweep.records.pairs import Pairs
from raysweep.records.standing import Standing, standing
from raysweep.report import cautions, charts, comparison, findings
from raysweep.report.promises import promises

OBJECTIVES = Objectives.of("accuracy", "attack_auc")


def trials(**columns):
    """Return two finished trials, the first undefended, the second at epsilon 2."""
    rows = {
        "trial_id": ["a" * 16, "b" * 16],
        "number": [0, 1],
        "status": "ok",
        "collapsed": False,
        "epsilon": [np.inf, 2.0],
        "target_epsilon": [np.inf, 2.0],
        "attempts": 1,
        "error": None,
        "split_hash": "s",
        "versions": "{}",
        "n_classes": 10,
        "n_nonmembers": 1000,
        "n_validation": 1000,
        "accuracy_on": None,
        "accuracy": [0.95, 0.90],
        "accuracy_low": np.nan,
        "accuracy_high": np.nan,
        "attack_auc": [0.70, 0.52],
        "attack_auc_low": [0.65, 0.48],
        "attack_auc_high": [0.75, 0.56],
        "attack_auc_null": 0.51,
        "models": None,
        "attack_auc_null_high": 0.55,
        "inversion_mse_nonmembers": 0.04,
        "inversion_mse": [0.02, 0.03],
        "inversion_mse_low": [0.019, 0.028],
        "inversion_mse_high": [0.021, 0.032],
        "inversion_floor_label": 0.06,
        "inversion_floor": 0.07,
        "inversion_converged": True,
        "strongest_attack": "loss",
    }
    return pd.DataFrame(rows | columns)


def verdict(frame):
    front = OBJECTIVES.front(frame)
    return told(frame, Standing(objectives=OBJECTIVES, front=front, n_searched=len(frame)))


def told(frame, stand):
    picks = findings.highlights(frame, stand, {})
    return " ".join(comparison.verdict(len(frame), stand, picks))


def measured(gap, *, pairs=8, n=400, noise=0.02, searched=40):
    """Return two trials whose AUCs differ by ``gap``, and how sure their front is."""
    rng = np.random.default_rng(0)
    frame = trials(attack_auc=[0.70, 0.70 - gap], accuracy=[0.95, 0.94])
    rows = [
        {
            "trial_id": trial,
            "figure": figure,
            "of_models": value + centred(rng.normal(0, noise, size=pairs)),
            "example": np.arange(n),
            "of_examples": value + centred(rng.normal(0, 0.3, size=n)),
        }
        for figure in ("accuracy", "attack_auc")
        for trial, value in zip(frame["trial_id"], frame[figure], strict=True)
    ]
    front = OBJECTIVES.front(frame)
    stand = standing(OBJECTIVES, frame, front, lambda ids: pd.DataFrame(rows))
    return frame, dataclasses.replace(stand, n_searched=searched)


def centred(values):
    return values - values.mean()


def test_an_improvement_is_claimed_first_where_the_corrected_interval_excludes_zero():
    text = told(*measured(0.3))
    assert text.startswith("Trial bbbbbbbb leaks less than the undefended model: attack AUC 0.400")
    assert "allow for the 40 trials that were searched" in text
    assert "points, which could be chance" in text
    assert "Recommended: trial bbbbbbbb" in text
    assert "The accuracy of 2 trials on the front cannot be told from the highest" in text


def test_without_an_improvement_it_is_said_how_many_models_or_examples_would_tell():
    of_models = told(*measured(0.06, noise=0.1, n=2000))
    assert of_models.startswith("No configuration on the front could be told apart from the")
    assert re.search(r"About \d+ models of each would tell the recommended one apart", of_models)
    of_examples = told(*measured(0.01))
    assert re.search(r"it takes a population of about [\d,]+ to tell", of_examples)


def test_of_single_models_nothing_is_claimed_however_large_the_difference():
    text = told(*measured(0.3, pairs=1))
    assert "leaks less than the undefended model cannot be told" in text
    assert "measure: {models: 16}" in text
    assert "Another seed of the same configurations gives another front" in text
    assert "Each is one model: other seeds may recommend another" in text


def test_identical_recipes_are_claimed_to_differ_in_at_most_5_sweeps_of_100():
    """40 recipes of the same quality, of which the one that leaks least is looked at."""
    rng, claims, found = np.random.default_rng(1), 0, 0
    for _ in range(100):
        ids = [f"{i:02d}" for i in range(40)]
        for planted in (0.0, 0.06):
            effects = np.zeros(40)
            effects[7] = -planted
            by_model = rng.normal(0, 0.01, size=(40, 8)) + effects[:, None]
            by_example = rng.normal(0, 0.1, size=(40, 800)) + effects[:, None]
            by_example += by_model.mean(axis=1, keepdims=True) - effects[:, None]
            by_model += by_example.mean(axis=1, keepdims=True) - by_model.mean(
                axis=1, keepdims=True
            )
            rows = pd.DataFrame(
                {
                    "trial_id": ids,
                    "figure": "attack_auc",
                    "of_models": list(by_model),
                    "example": [np.arange(800)] * 40,
                    "of_examples": list(by_example),
                }
            )
            objectives = Objectives.of("attack_auc")
            stand = Standing(
                objectives=objectives,
                front=pd.DataFrame({"trial_id": ids}),
                n_searched=40,
                pairs=Pairs(ids, rows),
                baseline="00",
            )
            sure = [one for one in ids[1:] if stand.leaks_less(one)]
            if planted:
                found += "07" in sure
            else:
                claims += bool(sure)
    assert claims <= 5
    assert found >= 90


def warnings(frame):
    return " ".join(cautions.warnings(frame, OBJECTIVES))


def test_clear_differences_are_told():
    text = verdict(trials())
    assert "picks the member 70 times in 100" in text
    assert "an accuracy of 90.0 %, 5.0 points less" in text
    assert "an AUC of 0.520 [0.48, 0.56], which is less" in text
    assert "members are rebuilt worse (MSE 0.0300 [0.0280, 0.0320] against 0.0200" in text
    assert "cannot be told apart" not in text


def test_what_intervals_do_not_tell_apart_is_not_claimed():
    text = verdict(trials(attack_auc_high=[0.75, 0.66], n_validation=50))
    assert text.count("cannot be told apart from the undefended model's") == 2
    assert "which is less" not in text
    assert "points less" not in text


def test_a_rebuilding_that_dp_makes_easier_is_told():
    better = {"inversion_mse_low": [0.019, 0.009], "inversion_mse_high": [0.021, 0.011]}
    assert "members are rebuilt better (MSE 0.0100 [0.0090, 0.0110] against 0.0200" in verdict(
        trials(inversion_mse=[0.02, 0.01], **better)
    )


def test_a_rebuilding_is_called_worse_only_where_intervals_lie_apart():
    close = trials(inversion_mse_low=[0.015, 0.02], inversion_mse_high=[0.025, 0.04])
    assert "are rebuilt as well as without a defence, as far as can be told" in verdict(close)
    assert "no interval" not in verdict(close)
    unknown = trials(inversion_mse_low=None, inversion_mse_high=None)
    assert "as far as can be told (MSE 0.0300 against 0.0200; no interval is known)" in (
        verdict(unknown)
    )


def test_members_stand_beside_nonmembers_and_guesses():
    row = trials().iloc[0].to_dict()
    text = comparison.inversion_beside_floors(row)
    assert text == (
        "0.0200 [0.0190, 0.0210] (nonmembers 0.0400, class mean 0.0600, mean input 0.0700)"
    )


def test_mses_that_do_not_separate_the_front_are_warned_of():
    close = trials(inversion_mse_low=[0.015, 0.02], inversion_mse_high=[0.025, 0.04])
    warned = cautions.inversion_does_not_separate(close)
    assert warned.startswith("The inversion MSEs on the front, 0.0200 to 0.0300, differ by less")
    unknown = close.assign(inversion_mse_low=None)
    for separate in (trials(), unknown, close.head(1)):
        assert cautions.inversion_does_not_separate(separate) == ""


def test_an_attack_that_finds_no_leak_is_called_so():
    frame = trials(attack_auc=[0.51, 0.50], attack_auc_low=[0.45, 0.4])
    assert "no more than these attacks may reach without a leak (0.51, rarely above 0.55)" in (
        verdict(frame)
    )
    unknown = frame.assign(attack_auc_null=None, attack_auc_null_high=None)
    assert "from a guess (0.5)" in verdict(unknown)
    for no_leak in (frame, unknown):
        assert "no proof that nothing leaks" in warnings(no_leak)
    assert "no proof" not in warnings(trials())


def test_a_leak_is_found_above_what_is_rare_without_one_though_the_interval_holds_its_mean():
    frame = trials(attack_auc=[0.56, 0.50], attack_auc_low=[0.49, 0.4])
    assert "more than these attacks reach without a leak (0.51, rarely above 0.55)" in (
        verdict(frame)
    )
    assert "no proof" not in warnings(frame)
    assert "no proof" in warnings(frame.assign(attack_auc_null=None, attack_auc_null_high=None))


@pytest.mark.parametrize(
    ("column", "expected"),
    [("n_nonmembers", "judged on 120 nonmembers"), ("n_validation", "on 120 validation examples")],
)
def test_few_examples_are_warned_of(column, expected):
    assert expected in warnings(trials(**{column: 120}))
    assert expected not in warnings(trials(**{column: 200}))


def test_that_all_trials_with_dp_collapsed_is_said_with_the_remedy():
    text = cautions.collapsed_with_dp(trials(collapsed=[False, True]))
    assert text.startswith("The only trial with DP-SGD collapsed")
    assert "training.private" in text
    more = pd.concat([trials(collapsed=[False, True])] * 2)
    assert "All 2 trials with DP-SGD collapsed" in warnings(more)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"collapsed": [True, False]},
        {"collapsed": True, "epsilon": np.inf},
        {"collapsed": True, "status": ["ok", "failed"]},
        {"collapsed": [False, None]},
    ],
)
def test_no_collapse_is_claimed_where_dp_learnt_or_was_not_tried(columns):
    assert cautions.collapsed_with_dp(trials(**columns)) == ""


def test_a_name_has_one_colour_wherever_it_stands():
    names = ["undefended, most accurate", "recommended", "most accurate with DP-SGD"]
    assert charts.colours(names) == charts.colours(names[::-1])
    assert len({*charts.colours(names).values()}) == 3
    both = charts.colours(["undefended (l2 0)", "undefended (l2 1)"])
    assert len({*both.values()}) == 2


def test_a_count_of_one_is_followed_by_one():
    frame = trials(n_nonmembers=1, n_validation=1, attempts=[1, 2], error=[None, "oh"])
    frame["status"] = ["ok", "failed"]
    text = warnings(frame)
    assert "1 trial failed: oh" in text
    assert "judged on 1 nonmember, fewer" in text
    assert "1 validation example, fewer" in text
    assert "1 trial needed more than one attempt" in text
    left_out = warnings(trials(collapsed=[False, True], epsilon=np.inf))
    assert "1 finished trial is left out" in left_out
    promised = " ".join(promises(trials(delta=1e-5, accountant="rdp"), 2))
    assert "1 of the 2 configurations on the front was trained with DP-SGD" in promised
    assert "the column epsilon_per_group is that of a person's records together" in promised
