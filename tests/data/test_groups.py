"""A cap on the records of one group: stated, kept by the deal, told and recorded."""

import numpy as np
import pytest

from raysweep import data
from raysweep.data import Dataset
from raysweep.errors import DataError, SpaceError


@pytest.fixture
def persons(tmp_path):
    """400 records of 60 persons: the first has 40, the others up to 7."""
    rng = np.random.default_rng(0)
    features = rng.random((400, 5))
    groups = np.concatenate([np.zeros(40, int), 1 + np.arange(360) % 59])
    np.savez(tmp_path / "p.npz", features=features, labels=np.arange(400) % 2, groups=groups)
    return {"name": "npz", "path": str(tmp_path / "p.npz")}


def rows_of(splits):
    return np.concatenate([getattr(splits, name).indices for name in splits.sizes])


def test_without_a_cap_the_largest_group_of_the_members_counts(persons):
    splits = data.load(persons, seed=0)
    groups = np.load(persons["path"])["groups"]
    assert splits.group_records == np.bincount(groups[splits.members.indices]).max()


@pytest.mark.parametrize("cap", [1, 3])
def test_no_group_has_more_records_than_the_cap_in_all_splits_together(persons, cap):
    splits = data.load({**persons, "records_per_group": cap}, seed=0)
    groups = np.load(persons["path"])["groups"]
    counts = np.bincount(groups[rows_of(splits)])
    assert counts.max() == splits.group_records == cap
    members = set(groups[splits.members.indices])
    assert not members & set(groups[splits.nonmembers.indices])
    left_out = 400 - np.minimum(np.bincount(groups), cap).sum()
    told = f"records_per_group: {left_out} rows of 60 groups left out"
    assert any(told in note for note in splits.notes)


def test_which_records_are_kept_follows_the_seed(persons):
    def kept(seed):
        return rows_of(data.load({**persons, "records_per_group": 2}, seed=seed))

    assert np.array_equal(kept(1), kept(1))
    assert not np.array_equal(np.sort(kept(1)), np.sort(kept(2)))


def test_a_cap_above_every_group_changes_nothing(persons):
    plain, capped = (
        data.load({**persons, **more}, seed=0) for more in ({}, {"records_per_group": 40})
    )
    assert plain.hash == capped.hash
    assert capped.group_records == 40


def test_a_cap_on_data_without_groups_is_refused():
    with pytest.raises(DataError, match=r"'digits': `records_per_group` needs groups.*got 3"):
        data.load({"name": "digits", "records_per_group": 3}, seed=0)


def test_sizes_that_a_cap_leaves_too_few_examples_for_are_refused(persons):
    with pytest.raises(DataError, match="the data set with records_per_group 1 has 60"):
        data.load({**persons, "records_per_group": 1, "members": 100}, seed=0)


def test_a_cap_below_one_is_refused():
    with pytest.raises(SpaceError, match="`records_per_group` must be greater than or equal to 1"):
        Dataset.parse({"name": "digits", "records_per_group": 0})


def test_a_configuration_without_a_cap_is_the_one_it_was():
    assert "records_per_group" not in Dataset.parse({"name": "digits"}).settings
    settings = Dataset.parse({"name": "digits", "records_per_group": 2}).settings
    assert Dataset.parse(settings).records_per_group == 2
