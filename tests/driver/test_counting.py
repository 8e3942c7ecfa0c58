"""The size of a search space, against the slow way of building every configuration."""

import itertools
import math
import time

import pandas as pd
import pytest
from conftest import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from raysweep.driver import counting
from raysweep.driver.counting import count_trials
from raysweep.driver.proposals import Proposals
from raysweep.space.parsing import parse_space

# Axes of the undefended and of defended training, with values that mean the same.
AXES = {
    "epsilon": "{low: 2, high: 16, points: 2, or: .inf}",
    "delta": "{values: [1e-5, 1e-4]}",
    "max_grad_norm": "{values: [1, 1.0, 2.0]}",
    "early_stopping": "{values: [1, 2, .inf]}",
    "training.epochs": "{values: [2, 3]}",
    "training.learning_rate": "{values: [0.01, 1e-2, 0.1]}",
    "training.private.batch_size": "{values: [30, 60]}",
    "dropout": "{values: [0, 0.0, 0.2]}",
    "l2": "{values: [0.0, 0.1]}",
    "model.hidden": "{values: [[8], [16]]}",
    "model.activation": "{values: [tanh, relu]}",
    "attacks.inversion.activation_decoder.layers": "{values: [[output], [flatten]]}",
    "dataset.members": "{values: [100, 120]}",
    "seed": "{values: [1, 3, 3]}",
    "random_crop": "{low: 0, high: 2, points: 5}",
}
SCENARIOS = {
    "plain": "{}",
    "dp": "{epsilon: [2, 3]}",
    "dropout": "{dropout: [0.2, 0.3], l2: 0.1}",
    "short": "{early_stopping: 2}",
}


def a_space(axes, scenarios=(), sampler="grid"):
    begin, end = SMALL.index("search:"), SMALL.index("attacks:")
    text = SMALL[:begin] + SMALL[end:].replace("name: random", f"name: {sampler}")
    search = "".join(f"  {key}: {axis}\n" for key, axis in axes.items())
    text += f"search:\n{search}" if axes else "search: {}\n"
    named = "".join(f"  {name}: {SCENARIOS[name]}\n" for name in scenarios)
    return parse_space(text + (f"scenarios:\n{named}" if named else ""), "s.yaml")


def count_slowly(space):
    points = [{}, *(values for _, values in space.scenario_points())]
    ids = {space.baseline().trial_id} | {space.config(p).trial_id for p in points[1:]}
    choices = [axis.choices() for axis in space.axes.values()]
    for combination in itertools.product(*choices):
        ids.add(space.config(dict(zip(space.axes, combination, strict=True))).trial_id)
    return len(ids)


@settings(max_examples=25)
@given(
    keys=st.lists(st.sampled_from(sorted(AXES)), max_size=4, unique=True),
    scenarios=st.lists(st.sampled_from(sorted(SCENARIOS)), max_size=2, unique=True),
    sampler=st.sampled_from(["grid", "random"]),
)
def test_the_count_is_what_building_every_configuration_gives(keys, scenarios, sampler):
    space = a_space({key: AXES[key] for key in keys}, scenarios, sampler)
    assert count_trials(space, 10**6) == count_slowly(space)


@pytest.mark.parametrize(
    ("keys", "n"),
    [
        (["epsilon", "delta", "max_grad_norm"], 2 * 2 * 2 + 1),  # without DP the others are neutral
        (["early_stopping", "training.epochs"], 2 + 3 + 1),  # the baseline has 4 epochs
    ],
)
def test_configurations_that_mean_the_same_count_once(keys, n):
    space = a_space({key: AXES[key] for key in keys})
    assert count_trials(space, 10**6) == count_slowly(space) == n


def test_a_grid_of_more_than_50_000_points_is_counted_in_a_second():
    space = a_space(
        {
            "epsilon": "{low: 2, high: 16, points: 10, or: .inf}",
            "delta": "{values: [1e-5, 1e-4]}",
            "dropout": "{low: 0.0, high: 0.5, points: 15}",
            "l2": "{low: 0.0, high: 0.1, points: 15}",
            "seed": "{values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}",
        }
    )
    assert space.size() > 50_000
    began = time.process_time()
    n = count_trials(space, 10**6)
    assert time.process_time() - began < 1
    assert n == (10 * 2 + 1) * 15 * 15 * 12


def test_a_range_of_whole_numbers_is_finite_and_a_sweep_ends_after_them():
    space = a_space({"early_stopping": "{low: 1, high: 4}"}, sampler="random")
    assert count_trials(space, 50) == 4  # to stop after all four epochs is the baseline
    proposals = Proposals(space, pd.DataFrame())
    proposed = list(iter(proposals.next, None))
    assert sorted(p.config.defences["early_stopping"] for p in proposed) == [1, 2, 3, math.inf]


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_sweep_of_a_space_that_is_not_counted_exactly_ends_when_nothing_is_new(
    monkeypatch, sampler
):
    monkeypatch.setattr(counting, "LARGEST_GROUP", 1)
    space = a_space({key: AXES[key] for key in ("epsilon", "delta")}, sampler=sampler)
    total = count_trials(space, 50)
    assert total == 3 * 2 + 1
    proposals = Proposals(space, pd.DataFrame())
    proposed = list(iter(proposals.next, None))
    assert len(proposed) == proposals.limit(total) == 2 * 2 + 1
