"""The space of a confirmation: the same configurations and deal, other seeds, and more models."""

import json

import pytest
import yaml
from conftest import SMALL

from raysweep.config import Measure
from raysweep.errors import SpaceError, StoreError
from raysweep.records.trial_config import recipe_of
from raysweep.space.confirmation import confirmation_space
from raysweep.space.parsing import parse_space

MEASURE = Measure(models=4, accuracy_on="test")

TEXT = SMALL.replace(
    "search:",
    """\
defences: {l2: 0.01}
scenarios: {narrow: {model.hidden: [[8, 8]], label_smoothing: 0.2}}
pruning: {grace_epochs: 2}
resources: {time_limit: 30m}
search:
  seed: {values: [3, 4]}
  model.hidden: {values: [[16], [32, 16]]}
  training.batch_size: {values: [8, 16]}""",
)


def confirmed(text, *points, measure=MEASURE):
    """Return a space, its configurations at some points, and the space that confirms them."""
    space = parse_space(text, "a.yaml")
    configs = [space.baseline(), *(space.config(values) for values in points)]
    texts = {config.trial_id: config.to_json() for config in configs}
    document = yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(space.to_plain()))))
    return space, configs, confirmation_space(document, texts, measure, place="out")


POINTS = [
    {"model.hidden": [32, 16], "training.batch_size": 8, "dropout": 0.25, "seed": 4},
    {"model.hidden": [8, 8], "label_smoothing": 0.2},
    {"target_epsilon": 4.0},
]


def test_each_configuration_is_a_scenario_named_by_its_trial():
    _, configs, space = confirmed(TEXT, *POINTS)
    points = list(space.scenario_points())
    assert [name for name, _ in points] == [config.trial_id for config in configs]
    again = [space.config(values) for _, values in points]
    for one, other in zip(configs, again, strict=True):
        assert (one.model, one.training, one.defences) == (
            other.model,
            other.training,
            other.defences,
        )
    assert again[0] == space.baseline()  # so that it is not run twice
    assert (space.axes, space.sampler.trials) == ({}, 4)


def test_the_seed_is_another_one_and_the_deal_that_of_the_sweep():
    before, _, space = confirmed(TEXT, *POINTS)
    config = space.config()
    assert (config.dataset.deal_seed, before.seed) == (3, 3)
    assert config.seed not in (3, 4)
    assert config.seed < 2**63
    assert config.measure == MEASURE
    assert space.seed == confirmed(TEXT, *POINTS)[2].seed


def test_a_stated_deal_is_kept():
    _, _, space = confirmed(SMALL.replace("test: 100}", "test: 100, deal_seed: 9}"))
    assert space.config().dataset.deal_seed == 9


def test_nothing_is_pruned_and_no_limit_of_one_model_holds_for_many():
    _, _, space = confirmed(TEXT, *POINTS)
    assert (space.pruning, space.resources.time_limit) == (None, None)


def test_a_configuration_that_would_become_another_one_is_refused():
    space = parse_space(SMALL, "a.yaml")
    document = json.loads(space.config({"dropout": 0.25}).to_json())
    document["training"]["epochs"] = 7  # no axis of the space
    text = json.dumps(document)
    with pytest.raises(StoreError, match=r"trial abc of out cannot be confirmed: this version"):
        confirmation_space(space.to_plain(), {"abc": text}, MEASURE, place="out")
    with pytest.raises(StoreError, match="did not write a record's `config`"):
        confirmation_space(space.to_plain(), {"abc": "{}"}, MEASURE, place="out")


def test_an_attack_that_no_ensemble_can_be_judged_by_is_refused():
    text = SMALL.replace("[max_posterior, loss]", "[shadow]")
    with pytest.raises(SpaceError, match=r"^out cannot be confirmed: `measure` needs one of .*\]$"):
        confirmed(text)


def test_a_sweep_that_was_measured_on_few_models_is_confirmed_on_more():
    _, configs, space = confirmed(SMALL + "measure: {models: 4}\n", measure=Measure(models=8))
    assert (configs[0].measure.models, space.config().measure.models) == (4, 8)
    assert recipe_of(configs[0].to_json()) != space.baseline().recipe
