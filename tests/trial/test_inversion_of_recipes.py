"""Inversion of several models of a recipe: whose examples are rebuilt, the mean, its interval."""

import numpy as np
import pytest
from conftest import SMALL

from raysweep.attacks import intervals
from raysweep.errors import DataError, SpaceError
from raysweep.space.parsing import parse_space
from raysweep.trial.run import run_trial

TEXT = SMALL.replace("nonmembers: 60", "nonmembers: 120").replace("epochs: 4", "epochs: 2")
TEXT = TEXT.replace("[max_posterior, loss]", "[loss]")


def config(measure):
    return parse_space(TEXT + f"measure: {measure}\n", "small.yaml").config()


@pytest.fixture(scope="module")
def judged():
    return run_trial(config("{models: 6, inversion_models: 4}"))


def test_the_figure_is_the_mean_over_the_examples_of_every_pair(judged):
    (one,), (several,) = (
        [a for a in judged.attacks if a.family == "inversion" and a.models == n] for n in (1, 4)
    )
    (row,) = [row for row in judged.examples if row.figure == "inversion_mse"]
    assert row.of_models.shape == (2,)  # pairs
    assert row.of_examples.shape == (240,)  # each is rebuilt by the model that it trained
    assert several.mse == pytest.approx(row.of_examples.mean())
    assert several.mse == pytest.approx(row.of_models.mean())
    assert several.mse_low < several.mse < several.mse_high

    trial = judged.trial
    assert (trial.inversion_mse, trial.inversion_mse_low) == (several.mse, several.mse_low)
    assert one.mse != several.mse
    assert one.mse == pytest.approx(several.mse, rel=0.2)


def test_a_pair_is_rebuilt_by_the_model_that_was_trained_on_each_example(judged):
    (own,) = judged.reconstructions
    ids, errors = own.errors
    (row,) = [row for row in judged.examples if row.figure == "inversion_mse"]
    place = np.isin(row.example, ids)
    assert place.sum() == len(ids) == 120
    by_id = dict(zip(ids, errors, strict=True))
    first = np.array([by_id[i] for i in row.example[place]])
    # The first model is attacked twice, with the decoder fitted on the same pool.
    assert np.corrcoef(first, row.of_examples[place])[0, 1] > 0.5


def test_the_interval_is_over_pairs_and_examples():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        cells = 5 + rng.normal(size=(4, 1)) + rng.normal(size=(1, 60)) + rng.normal(size=(4, 60))
        found = intervals.of_crossed_mean(cells)
        inside += found.low <= 5 <= found.high
    assert 180 <= inside <= 200


def test_the_other_figures_and_the_models_stay_the_same(judged):
    plain = run_trial(config("{models: 6}"))
    assert plain.trial.attack_auc == judged.trial.attack_auc
    assert plain.trial.accuracies == judged.trial.accuracies


@pytest.mark.parametrize(
    ("measure", "rule"),
    [
        ("{models: 6, inversion_models: 3}", "must be 1, or even and at least 4, got 3"),
        ("{models: 6, inversion_models: 2}", "must be 1, or even and at least 4, got 2"),
        ("{models: 4, inversion_models: 6}", "at most `models`, 4, got 6"),
    ],
)
def test_a_number_that_cannot_be_is_refused(measure, rule):
    with pytest.raises(SpaceError, match=rule):
        config(measure)


def test_a_population_that_reaches_into_the_pool_is_refused():
    small = TEXT.replace("nonmembers: 120", "nonmembers: 60")
    space = parse_space(small + "measure: {models: 4, inversion_models: 4}\n", "small.yaml")
    with pytest.raises(DataError, match="the pool is the attacker's own, got 60; enlarge"):
        run_trial(space.config())
