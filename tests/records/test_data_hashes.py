"""A sweep is not continued on other data than it began with."""

import json

import numpy as np
import pytest
import yaml
from conftest import SMALL

import raysweep
from raysweep import data
from raysweep.data import Dataset, deal_key
from raysweep.errors import StoreError
from raysweep.records.data_hashes import DATA, keep_hashes, kept_hashes, refuse_other_data
from raysweep.records.store import Store
from raysweep.space.parsing import parse_space

SIZES = {"members": 60, "nonmembers": 30, "pool": 100, "validation": 50, "test": 0}


def write(path, n=300, brightness=1.0):
    rng = np.random.default_rng(0)
    np.savez(path, features=rng.random((n, 5)) * brightness, labels=np.arange(n) % 2)
    return {"name": "npz", "path": str(path), **SIZES}


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "out"))
    store.folder.write_bytes(b"name: x", "space.yaml")
    return store


def loaded(settings, seed=0):
    dataset = Dataset.parse(settings)
    return {deal_key(dataset, seed): data.load(dataset, seed=seed)}


def test_the_hash_follows_the_features_the_labels_and_the_groups(tmp_path):
    rng = np.random.default_rng(0)
    features, labels, groups = rng.random((300, 5)), np.arange(300) % 2, np.arange(300)
    other = features.copy()
    other[299, 4] += 1e-9
    variants = [
        {"features": features, "labels": labels},
        {"features": other, "labels": labels},
        {"features": features, "labels": 1 - labels},
        {"features": features, "labels": labels, "groups": groups},
    ]
    hashes = []
    for arrays in [*variants, variants[0]]:
        np.savez(tmp_path / "mine.npz", **arrays)
        splits = data.load({"name": "npz", "path": str(tmp_path / "mine.npz"), **SIZES}, seed=0)
        hashes.append(splits.data_hash)
    assert len(set(hashes)) == 4
    assert hashes[0] == hashes[-1]


def test_the_same_data_continue_and_changed_ones_are_refused(store, tmp_path):
    settings = write(tmp_path / "mine.npz")
    keep_hashes(store, loaded(settings))
    before = kept_hashes(store)
    keep_hashes(store, loaded(settings))
    keep_hashes(store, loaded(settings, seed=1))
    assert len(kept_hashes(store)) == 2

    write(tmp_path / "mine.npz", brightness=0.5)
    with pytest.raises(
        StoreError, match=r"other data: .*mine\.npz\) is not what the sweep began w"
    ):
        keep_hashes(store, loaded(settings))
    assert before.items() <= kept_hashes(store).items()


def test_other_splits_of_the_same_data_are_refused(store):
    deals = loaded({"name": "digits", **SIZES})
    keep_hashes(store, deals)
    kept = kept_hashes(store)
    kept[next(iter(deals))]["splits"] = "0" * 16
    store.folder.write_bytes(json.dumps(kept).encode(), DATA)
    with pytest.raises(StoreError, match="'digits' is dealt into other splits than when the sweep"):
        keep_hashes(store, deals)


def test_a_sweep_refuses_changed_data_before_ray_starts(tmp_path):
    settings = write(tmp_path / "mine.npz")
    sizes = ", ".join(f"{key}: {value}" for key, value in settings.items())
    old = "{name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}"
    space = parse_space(SMALL.replace(old, "{" + sizes + "}"), "small.yaml")

    store = Store(str(tmp_path / "out"))
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    baseline = space.baseline()
    keep_hashes(store, loaded(baseline.dataset.settings, baseline.seed))

    write(tmp_path / "mine.npz", n=301)
    with pytest.raises(StoreError, match=r"restore the data, or give another --out"):
        raysweep.sweep(space, out=store.path)


def test_sweeps_on_other_data_of_one_name_share_no_front(store, tmp_path):
    other = Store(str(tmp_path / "other"))
    other.folder.write_bytes(b"name: x", "space.yaml")
    keep_hashes(store, loaded(write(tmp_path / "mine.npz")))
    refuse_other_data(store, other)
    keep_hashes(other, loaded(write(tmp_path / "mine.npz", brightness=0.5)))
    with pytest.raises(StoreError, match=r"cannot share a front, .*mine\.npz\) was other data"):
        refuse_other_data(store, other)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '{"a": {"data": 1}}', "[" * 50_000])
def test_hashes_that_raysweep_did_not_write_are_refused(tmp_path, text):
    store = Store(str(tmp_path))
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(StoreError, match=r"data\.json is damaged .*; remove it"):
        kept_hashes(store)


def test_keys_that_name_no_data_set_are_refused_in_plain_words(tmp_path):
    stores = []
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        hashes = json.dumps({"no key": {"data": number, "splits": "a"}})
        (tmp_path / number / "data.json").write_text(hashes)
        stores.append(Store(str(tmp_path / number)))
    with pytest.raises(StoreError, match="the data set was other data"):
        refuse_other_data(*stores)
