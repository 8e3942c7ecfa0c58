"""Of many values and scenarios a sweep tries some on the data and the model before it starts."""

import pytest
from conftest import SMALL

from raysweep.driver.preflight import check_space
from raysweep.space.parsing import parse_space

DROPOUT = "dropout: {low: 0.0, high: 0.5}"


def tried(text):
    """Return the configurations that are tried, without the baseline."""
    configs = []
    check_space(parse_space(text, "x.yaml"), lambda config, splits: configs.append(config))
    return configs[1:]


@pytest.mark.parametrize(("n", "expected"), [(20, 20), (1000, 5)])
def test_a_long_list_of_numbers_is_tried_as_a_range_from_the_least_to_the_largest(n, expected):
    values = [3e-3 * (i + 1) for i in reversed(range(n))]
    found = {c.training.learning_rate for c in tried(of_axis("training.learning_rate", values))}
    assert {values[0], values[-1]} <= found
    assert len(found - {0.01}) == expected  # the space's own learning rate is 0.01


def test_of_other_values_twenty_are_tried():
    values = [[i + 1] for i in range(1000)]
    found = {tuple(c.model.settings["hidden"]) for c in tried(of_axis("model.hidden", values))}
    assert {(1,), (1000,)} <= found
    assert len(found - {(32,)}) == 20


@pytest.mark.parametrize(("n", "expected"), [(100, 100), (1000, 20)])
def test_a_hundred_scenarios_are_all_tried_and_of_more_twenty(n, expected):
    lines = "".join(f"\n  s{i}: {{l2: {(i + 1) / n}}}" for i in range(n))
    text = f"{SMALL}scenarios:{lines}\n"
    found = {config.defences["l2"] for config in tried(text)} - {0.0}
    assert {1 / n, 1.0} <= found
    assert len(found) == expected


def of_axis(key, values):
    return SMALL.replace(DROPOUT, f"{key}: {{values: {values}}}")
