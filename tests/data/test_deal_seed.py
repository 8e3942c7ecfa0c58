"""`deal_seed` fixes the deal of the examples, whatever the seed of a trial is."""

import json
from dataclasses import replace

import pytest
from conftest import DIGITS, SMALL

from raysweep import data
from raysweep.data import Dataset, deal_key
from raysweep.errors import SpaceError
from raysweep.records.trial_config import TrialConfig
from raysweep.space.parsing import parse_space

FIXED = SMALL.replace("test: 100}", "test: 100, deal_seed: 5}")


def test_splits_follow_the_deal_seed_and_not_the_seed(splits):
    fixed = DIGITS | {"deal_seed": 0}
    assert data.load(fixed, seed=1).hash == data.load(fixed, seed=2).hash == splits.hash
    assert data.load(DIGITS, seed=1).hash != splits.hash


def test_a_deal_has_one_key_however_its_seed_is_given():
    plain = Dataset.parse(DIGITS)
    assert deal_key(replace(plain, deal_seed=7), 3) == deal_key(plain, 7) != deal_key(plain, 3)


def test_a_configuration_keeps_the_deal_seed_only_where_it_is_stated():
    assert "deal_seed" not in parse_space(SMALL, "a.yaml").config().to_json()
    config = parse_space(FIXED, "a.yaml").config()
    assert json.loads(config.to_json())["dataset"]["deal_seed"] == 5
    assert TrialConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("given", ["-1", "1.5", "true", "9223372036854775808", "a"])
def test_a_deal_seed_is_a_whole_number(given):
    text = FIXED.replace("deal_seed: 5", f"deal_seed: {given}")
    rule = r"deal_seed` must be a whole number from 0 to 2\*\*63 - 1"
    with pytest.raises(SpaceError, match=rule):
        parse_space(text, "a.yaml")
