"""Examples are dealt whatever the number of classes and groups, in little time and memory."""

import tracemalloc

import numpy as np
import pytest

from raysweep.data.deal import deal, rows_by_code
from raysweep.errors import DataError

SHARES = {"members": 0.3, "nonmembers": 0.1, "pool": 0.4, "reference": 0, "validation": 0.1}


def counts(total):
    return {name: int(total * share) for name, share in SHARES.items()}


def test_thousands_of_classes_take_mebibytes():
    labels = np.arange(6_500) % 3_000
    tracemalloc.start()
    splits = deal(labels, None, counts(len(labels)), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {name: len(rows) for name, rows in splits.items()} == counts(len(labels))
    assert peak < 60 * 2**20  # dense constraints take 700


def test_rows_by_code_are_what_a_search_for_each_code_finds():
    codes = np.random.default_rng(0).integers(0, 9, 500)
    codes = np.unique(codes, return_inverse=True)[1]
    for code, rows in enumerate(rows_by_code(codes)):
        assert rows.tolist() == np.flatnonzero(codes == code).tolist()


def test_groups_may_have_names_and_names_deal_as_numbers_do():
    numbers = np.random.default_rng(0).integers(0, 60, 400)
    names = np.array([f"person {number:03}" for number in numbers])
    labels = np.arange(400) % 2
    by_number, by_name = (deal(labels, g, counts(400), seed=3) for g in (numbers, names))
    assert all(by_number[name].tolist() == by_name[name].tolist() for name in SHARES)


def test_groups_that_keep_a_class_from_the_members_are_the_cause_of_the_error():
    labels = np.repeat(np.arange(10), 40)
    message = r"members get no example of 7 of the classes: a group is dealt whole, and class \d"
    with pytest.raises(DataError, match=message):
        deal(labels, labels, counts(400), seed=0)
