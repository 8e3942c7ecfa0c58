"""The benchmarks of claims, limits and recipes measure what they say."""

import pytest

from benchmarks import claims, limits, recipes
from raysweep.records.conditions import parse_conditions
from raysweep.space.parsing import load_space


def test_a_planted_recipe_is_named_and_identical_ones_are_not():
    drawn = claims.Population(150, 8, seed=0)
    same = [drawn.recipe(claims.REMEMBERED) for _ in range(6)]
    assert claims.claimed(same) == []
    assert claims.claimed([*same, drawn.recipe(0.0)]) == ["06"]


def test_of_one_pair_of_models_nothing_is_claimed():
    drawn = claims.Population(150, 4, seed=0)
    recipes_of_one = [drawn.recipe(claims.REMEMBERED), drawn.recipe(0.0)]
    alone = [{name: cells[:2] for name, cells in one.items()} for one in recipes_of_one]
    assert claims.claimed(alone) == []


def test_limits_are_conditions_of_best_on_figures_and_on_ends_of_intervals():
    texts = (limits.conditions(0.8, 0.6, by_ends=ends) for ends in (False, True))
    by_figure, by_ends = map(parse_conditions, texts)
    assert [str(one) for one in by_figure] == ["accuracy >= 0.8", "attack_auc <= 0.6"]
    assert [one.column for one in by_ends] == ["accuracy_low", "attack_auc_high"]
    assert load_space(limits.SPACE).objectives.names == ("accuracy", "attack_auc")


@pytest.mark.parametrize("target", recipes.TARGETS)
def test_each_recipe_is_a_valid_configuration(target):
    for defences in recipes.CASES[target].values():
        config = recipes.space(target, 16).config(defences)
        assert {key: config.defences[key] for key in defences} == defences
        assert list(config.attacks.of_recipe) == recipes.ATTACKS[target]
