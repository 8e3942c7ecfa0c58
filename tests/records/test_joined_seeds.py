"""Sweeps of one space with other seeds are one sweep: its configurations are averaged."""

import json

import pytest
from conftest import SMALL
from recorded import record_sweep

import raysweep
from raysweep.errors import SpaceError, StoreError
from raysweep.records.conditions import parse_conditions
from raysweep.report.build import write

TEXT = SMALL.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
TEXT = TEXT.replace("epochs: 4", "epochs: 1")
POINTS = [{"dropout": 0.3}, {"dropout": 0.5}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("seeds")
    texts = {"three": TEXT, "four": TEXT.replace("seed: 3", "seed: 4")}
    return [record_sweep(root / name, text, POINTS) for name, text in texts.items()]


def test_the_figures_of_a_configuration_are_means_over_the_sweeps(folders):
    alone = [raysweep.load(folder).trials for folder in folders]
    results = raysweep.load(*folders)
    averaged = results.compared()
    assert (len(results.trials), averaged["seeds"].tolist()) == (6, [2, 2, 2])
    for row, one, other in zip(
        averaged.itertuples(), *(a.itertuples() for a in alone), strict=True
    ):
        assert row.accuracy == pytest.approx((one.accuracy + other.accuracy) / 2)
    assert (results.front()["seeds"] == 2).all()


def test_a_page_counts_the_seeds_of_joined_sweeps(folders, tmp_path):
    write(folders, tmp_path / "a.html")
    assert "means over the seeds of each configuration" in (tmp_path / "a.html").read_text()


def test_the_seed_of_joined_sweeps_is_no_condition(folders):
    results = raysweep.load(*folders)
    with pytest.raises(SpaceError, match="--where cannot name `seed`"):
        parse_conditions(["seed == 3"], results.axes)


@pytest.mark.parametrize(
    ("old", "new", "block"),
    [
        ("hidden: [32]", "hidden: [16]", "model"),
        ("learning_rate: 1e-2", "learning_rate: 1e-3", "training"),
        ("high: 0.5", "high: 0.6", "search"),
    ],
)
def test_sweeps_with_another_seed_and_another_space_share_no_front(
    folders, tmp_path, old, new, block
):
    text = TEXT.replace("seed: 3", "seed: 5").replace(old, new)
    other = record_sweep(tmp_path / "other", text)
    with pytest.raises(StoreError, match=f"`seed` differs, .* and so does `{block}`"):
        raysweep.load(folders[0], other)


def test_sweeps_of_other_seeds_on_other_data_share_no_front(folders, tmp_path):
    other = record_sweep(tmp_path / "other", TEXT.replace("seed: 3", "seed: 5"))
    hashes = json.loads((tmp_path / "other/data.json").read_text())
    (key,) = hashes
    hashes[key]["data"] = "another"
    (tmp_path / "other/data.json").write_text(json.dumps(hashes))
    with pytest.raises(StoreError, match="cannot share a front, dataset 'digits' was other data"):
        raysweep.load(folders[0], other)
