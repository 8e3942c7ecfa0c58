"""A size that is stated is kept, and the others follow."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep import data
from raysweep.data.deal import SHARES, Sizes
from raysweep.errors import DataError
from raysweep.space.schema import schema

NAMES = ("members", "nonmembers", "pool", "reference", "validation", "test")


@given(st.integers(20, 5_000))
def test_without_sizes_everything_is_dealt_and_the_pool_suffices_for_shadows(total):
    counts = Sizes().counts(total)
    assert sum(counts.values()) == total
    assert counts["pool"] >= counts["members"] + counts["nonmembers"]
    assert all(abs(counts[name] - share * total) <= 4 for name, share in SHARES.items())


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 90), max_size=5))
def test_stated_sizes_are_kept_and_the_others_fit(stated):
    counts = Sizes(**stated).counts(600)
    assert {name: counts[name] for name in stated} == stated
    assert sum(counts.values()) <= 600
    if "members" not in stated:
        assert sum(counts.values()) == 600


def test_sizes_that_are_not_stated_share_what_is_left_in_proportion():
    counts = Sizes(members=300, nonmembers=150).counts(569)
    assert counts == dict(zip(NAMES, (300, 150, 79, 0, 19, 19), strict=True))


@pytest.mark.parametrize(
    ("stated", "sizes"),
    [
        ({}, (180, 60, 240, 0, 60, 60)),
        ({"test": 0}, (210, 60, 270, 0, 60, 0)),
        ({"members": 200}, (200, 57, 257, 0, 57, 29)),
        ({"nonmembers": 150}, (125, 150, 275, 0, 50, 0)),
        ({"members": 150, "nonmembers": 120, "validation": 30}, (150, 120, 270, 0, 30, 30)),
    ],
)
def test_a_pool_without_a_size_suffices_for_shadows_where_it_can(stated, sizes):
    assert Sizes(**stated).counts(600) == dict(zip(NAMES, sizes, strict=True))


@given(
    st.dictionaries(st.sampled_from(["nonmembers", "validation", "test"]), st.integers(1, 140)),
    st.integers(600, 3_000),
)
def test_a_stated_size_leaves_a_pool_that_suffices_for_shadows(stated, total):
    counts = Sizes(**stated).counts(total)
    assert counts["pool"] >= counts["members"] + counts["nonmembers"]


def test_what_a_pool_of_none_leaves_goes_to_members():
    assert Sizes(pool=0).counts(1000)["members"] == 700


def test_a_split_that_gets_nothing_is_told_with_the_sizes_of_the_others():
    with pytest.raises(DataError, match=r"dataset.nonmembers must hold .* \(members 568, nonmem"):
        Sizes(members=568).counts(569)


def test_a_share_stays_the_share_of_the_whole_data_set():
    stated = {"members": 0.3, "nonmembers": 0.1, "pool": 0.4, "validation": 0.1, "test": 0.1}
    sizes = data.load({"name": "digits", **stated}, seed=0).sizes
    assert list(sizes.values()) == [539, 179, 718, 0, 179, 179]


def test_the_schema_states_the_defaults_of_both_kinds_of_split():
    block = schema()["properties"]["dataset"]
    dealt, published = block["else"]["properties"], block["then"]["properties"]
    assert {name: dealt[name]["default"] for name in NAMES} == {
        **dict.fromkeys(NAMES),
        "reference": 0,
    }
    assert published["pool"]["default"] == 0
    assert published["members"]["default"] is None
    assert all(
        f"null: a share of {SHARES[name]}" in dealt[name]["description"] for name in NAMES[1:3]
    )
    json.dumps(block, allow_nan=False)
