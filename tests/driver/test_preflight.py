"""Of many values and scenarios a sweep tries some on the data and the model before it starts."""

import pytest
from conftest import SMALL

from raysweep.driver.preflight import check_here, check_space
from raysweep.errors import RaysweepError
from raysweep.space.parsing import parse_space

DROPOUT = "dropout: {low: 0.0, high: 0.5}"


def tried(text):
    """Return the configurations that are tried, without the baseline."""
    configs = []
    check_space(parse_space(text, "x.yaml"), [lambda config, splits: configs.append(config)])
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


def test_the_first_of_each_kind_is_tried_where_not_all_are():
    deep = [[i + 1] for i in range(500)] + [[8, 8]] + [[i + 1] for i in range(500, 1000)]
    found = {tuple(c.model.settings["hidden"]) for c in tried(of_axis("model.hidden", deep))}
    assert (8, 8) in found
    lines = "".join(f"\n  s{i}: {{l2: {(i + 1) / 1000}}}" for i in range(1000))
    other = f"{lines}\n  odd: {{label_smoothing: 0.25}}{lines.replace('  s', '  t')}\n"
    assert 0.25 in {c.defences["label_smoothing"] for c in tried(f"{SMALL}scenarios:{other}")}


def test_what_was_not_tried_is_told_by_number():
    notes = check_here(parse_space(of_axis("l2", [(i + 1) / 1000 for i in range(1000)]), "x.yaml"))
    assert any("`search.l2`: 5 of 1,000 values were tried" in note for note in notes)
    lines = "".join(f"\n  s{i}: {{l2: {(i + 1) / 1000}}}" for i in range(1000))
    notes = check_here(parse_space(f"{SMALL}scenarios:{lines}\n", "x.yaml"))
    assert any("`scenarios`: 20 of 1,000 were tried" in note for note in notes)
    assert not any("were tried" in note for note in check_here(parse_space(SMALL, "x.yaml")))


def of_axis(key, values):
    return SMALL.replace(DROPOUT, f"{key}: {{values: {values}}}")


def test_mistakes_of_the_baseline_are_told_with_those_of_the_axes_each_once():
    text = SMALL.replace("{decoders: [ridge]}", "{layers: [absent]}")
    text = text.replace("low: 2, high", "low: 1.0e-9, high")
    objectives = "objectives: {accuracy: max, tpr_at_fpr_0_001: min}\n"
    with pytest.raises(RaysweepError) as raised:
        check_here(parse_space(text + objectives, "x.yaml"))
    first, *mistakes = str(raised.value).splitlines()
    assert first == "3 mistakes:"
    words = ("no layer 'absent'", "needs at least 10,000 decisions", "cannot be met in")
    assert all(word in line for word, line in zip(words, mistakes, strict=True)), mistakes
