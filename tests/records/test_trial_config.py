"""Configurations: one JSON form, one identity, read back as typed values."""

import math
from pathlib import Path

import pytest

import raysweep
from raysweep.errors import SpaceError
from raysweep.records.trial_config import TrialConfig
from raysweep.space.parsing import parse_space
from raysweep.space.space import set_key

STORES = sorted(Path(__file__).parent.parent.parent.glob("analysis/results/*/space.yaml"))


@pytest.mark.parametrize("store", STORES, ids=lambda path: path.parent.name)
def test_every_committed_record_keeps_its_trial_id(store):
    trials = raysweep.load(str(store.parent)).trials
    assert [TrialConfig.from_json(text).trial_id for text in trials["config"]] == list(
        trials["trial_id"]
    )


def test_a_configuration_is_read_back_as_it_was(space):
    config = space.config({"target_epsilon": 4, "dropout": 0.25})
    again = TrialConfig.from_json(config.to_json())
    assert again == config
    assert again.defences["target_epsilon"] == 4
    assert again.training.private.optimizer == "sgd"


def test_infinity_survives_the_json(space):
    baseline = space.baseline()
    assert TrialConfig.from_json(baseline.to_json()).defences["target_epsilon"] == math.inf


def test_the_older_name_of_the_target_epsilon_means_the_same(space):
    assert space.config({"epsilon": 4}) == space.config({"target_epsilon": 4})


def test_a_space_with_the_older_name_is_the_same_space(small_yaml):
    older = small_yaml.read_text()
    assert "  epsilon:" in older
    newer = older.replace("  epsilon:", "  target_epsilon:")
    assert parse_space(older, "a").to_plain() == parse_space(newer, "b").to_plain()


def test_both_names_at_once_are_refused(space):
    with pytest.raises(SpaceError, match="`epsilon` is the older name of `target_epsilon`"):
        space.config({"epsilon": 4, "target_epsilon": 2})


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("epsilon", ("defences", "target_epsilon")),
        ("search.epsilon.low", ("search", "target_epsilon", "low")),
        ("training.epochs", ("training", "epochs")),
    ],
)
def test_a_dotted_key_is_set_at_its_present_place(key, place):
    assert set_key({}, key, 1) == place


def test_measure_is_part_of_a_configuration_only_where_it_is_given(space):
    without = space.config()
    document = {**space.document, "measure": {"models": 4}}
    given = TrialConfig.parse(document)
    assert "measure" not in without.to_json()
    assert given.trial_id != without.trial_id
    assert TrialConfig.from_json(given.to_json()) == given
    assert TrialConfig.parse({"seed": 5}, parsed=given).measure == given.measure
