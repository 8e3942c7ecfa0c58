"""Pairwise comparisons: intervals that hold the truth, chance that claims nothing, ties in groups."""

import numpy as np
import pandas as pd
import pytest

from raysweep.attacks import metrics, parts
from raysweep.records.objectives import Objectives
from raysweep.records.pairs import Pairs, groups, told_apart


def table(cells):
    """Return `examples` rows of trials "0", "1", ... from parts (trials, pairs, examples)."""
    return pd.DataFrame(
        {
            "trial_id": [str(i) for i in range(len(cells))],
            "figure": "attack_auc",
            "of_models": list(cells.mean(axis=2)),
            "example": [np.arange(cells.shape[2])] * len(cells),
            "of_examples": list(cells.mean(axis=1)),
        }
    )


def draw(rng, effects, pairs=8, n=300, own=0.02):
    """Return parts of recipes that share the examples' difficulty, with noise of their own."""
    shared = rng.normal(0, 0.3, size=(1, 1, n)) + rng.normal(0, 0.02, size=(1, pairs, 1))
    shape = (len(effects), pairs, n)
    by_pair = rng.normal(0, own, size=(len(effects), pairs, 1))
    by_example = rng.normal(0, 0.1, size=(len(effects), 1, n))
    noise = rng.normal(0, 0.3, size=shape)
    return np.reshape(effects, (-1, 1, 1)) + shared + by_pair + by_example + noise


def test_the_interval_of_a_difference_covers_the_truth():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        pairs = Pairs(["0", "1"], table(draw(rng, [0.6, 0.63])))
        gap = pairs.difference("1", "0", "attack_auc")
        hits += gap.low <= 0.03 <= gap.high
    assert 0.93 <= hits / 300 <= 0.99


def test_pairs_tell_apart_what_intervals_of_figures_do_not():
    pairs = Pairs(["0", "1"], table(draw(np.random.default_rng(1), [0.6, 0.68])))
    gap = pairs.difference("1", "0", "attack_auc")
    assert gap.low > 0
    assert gap.high - gap.low < 2 * 1.96 * 0.3 / np.sqrt(300)  # half as wide as one figure's


def test_identical_recipes_are_one_group_and_a_better_one_stands_apart():
    rng = np.random.default_rng(2)
    trials = list("01234")
    pairs = Pairs(trials, table(draw(rng, [0.6] * 5)))
    assert set(groups(pairs, trials, ["attack_auc"], level=0.995).values()) == {0}

    better = Pairs(trials, table(draw(rng, [0.6, 0.6, 0.6, 0.6, 0.4])))
    found = groups(better, trials, ["attack_auc"], level=0.995)
    assert [found[trial] for trial in trials] == [0, 0, 0, 0, 1]
    assert told_apart(better, "4", "0", ["attack_auc"], 0.995)


def test_the_share_on_the_front_is_high_for_the_better_and_even_among_equals():
    rng = np.random.default_rng(3)
    objectives = Objectives.of("attack_auc")
    cells = draw(rng, [0.6, 0.6, 0.8])
    figures = pd.DataFrame({"attack_auc": cells.mean(axis=(1, 2)), "inversion_floor": 0.07})
    shares = Pairs(["0", "1", "2"], table(cells)).shares_on_front(
        figures, objectives, among=np.ones(3, dtype=bool), seed=0
    )
    assert shares.sum() == pytest.approx(1, abs=1e-9)
    assert shares[2] == 0
    assert (shares[:2] > 0.02).all()


def test_a_figure_that_a_trial_lacks_or_has_on_other_examples_is_not_compared():
    rows = table(draw(np.random.default_rng(0), [0.6, 0.7]))
    assert Pairs(["0", "1"], rows.head(1)).difference("0", "1", "attack_auc") is None
    rows.at[1, "example"] = np.arange(1, 301)
    assert Pairs(["0", "1"], rows).difference("0", "1", "attack_auc") is None


def test_more_models_tell_apart_what_the_models_blur_and_not_what_the_examples_blur():
    rng = np.random.default_rng(4)
    pairs = Pairs(["0", "1"], table(draw(rng, [0.6, 0.62], own=0.06)))
    needed = pairs.models_to_tell("0", "1", "attack_auc", level=0.95)
    assert needed is None or needed > 16
    single = Pairs(["0", "1"], table(draw(rng, [0.6, 0.62], pairs=1)))
    assert single.models_to_tell("0", "1", "attack_auc", level=0.95) is None
    assert not single.of_recipes("attack_auc")


@pytest.mark.parametrize("fpr", [0.01, 0.1])
def test_parts_of_a_tpr_have_it_as_their_mean_and_its_spread(fpr):
    rng, rates, spreads = np.random.default_rng(5), [], []
    for _ in range(200):
        truth = np.repeat([True, False], 1000)
        scores = rng.normal(size=2000) + 1.0 * truth
        cells = parts.of_tpr(scores[None], truth[None], fpr, seed=0)
        point = metrics.tpr_at_fpr(scores, truth, fpr, seed=0)
        assert cells.mean() == pytest.approx(point.tpr.value)
        rates.append(cells.mean())
        spreads.append(cells.std(ddof=1) / np.sqrt(2000))
    assert np.mean(spreads) == pytest.approx(np.std(rates), rel=0.25)


def test_parts_of_an_auc_and_an_advantage_have_it_as_their_mean():
    rng = np.random.default_rng(6)
    truth = np.repeat([True, False], [300, 200])
    scores = rng.normal(size=500) + truth
    assert parts.of_auc(scores[None], truth[None]).mean() == pytest.approx(
        metrics.auc(scores, truth)
    )
    advantage = parts.of_advantage(scores[None], truth[None], np.array([0.5])).mean()
    assert advantage == pytest.approx(metrics.advantage(scores, truth, 0.5).value)
