"""`raysweep confirm`: what it refuses before Ray starts, and a real confirmation of a real sweep."""

import json
import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import SMALL
from driver.sweeps import finished, run
from recorded import record_sweep

import raysweep
from raysweep.config import Measure
from raysweep.driver.confirm import confirm
from raysweep.driver.lock import Lock
from raysweep.errors import SpaceError, StoreBusy, StoreError
from raysweep.records.confirmed import read_confirmed
from raysweep.records.store import Store
from raysweep.space.confirmation import confirmation_space

TEXT = SMALL.replace("  inversion: {activation_decoder: {decoders: [ridge]}}\n", "")
TEXT = TEXT.replace("epochs: 4", "epochs: 2")
POINTS = [{"dropout": 0.3}, {"target_epsilon": 4.0}]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_sweep(tmp_path_factory.mktemp("sweep") / "out", TEXT, POINTS)


@pytest.fixture(autouse=True)
def _nothing_is_written(request, recorded):
    yield
    assert not Store(recorded).folder.exists("confirm", "space.yaml")


def changed(folder, tmp_path, **columns):
    """Return a copy of a results folder whose trials have other values in some columns."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for file in copy.glob("trials/*.parquet"):
        table = pq.read_table(file)
        rows = table.to_pandas().assign(**columns)
        pq.write_table(table.from_pandas(rows, schema=table.schema), file)
    return str(copy)


@pytest.mark.parametrize(
    ("models", "rule"), [(1, "at least 4, got 1"), (2, "at least 4"), (7, "must be even, got 7")]
)
def test_models_that_do_not_pair_up_are_refused(recorded, models, rule):
    with pytest.raises(SpaceError, match=f"^--models: `models` .*{rule}"):
        confirm(recorded, models=models)


def test_a_sweep_without_a_test_split_is_refused(recorded, tmp_path):
    folder = changed(recorded, tmp_path, n_test=0)
    with pytest.raises(
        StoreError, match="at least 10 examples of the test split, got 0; sweep again"
    ):
        confirm(folder)


def test_a_sweep_whose_members_have_no_partners_is_refused(recorded, tmp_path):
    folder = changed(recorded, tmp_path, n_pool=30)
    with pytest.raises(
        StoreError, match=r"120 members and as many outsiders .*got 90; .* at most 90"
    ):
        confirm(folder)


def test_nonmembers_that_are_validation_examples_are_no_outsiders(recorded, tmp_path):
    shared = "published, validation as nonmembers"
    folder = changed(recorded, tmp_path, n_pool=100, split=shared)
    with pytest.raises(StoreError, match=r"no validation examples\), got 100"):
        confirm(folder)


def test_an_empty_front_is_refused(recorded, tmp_path):
    with pytest.raises(StoreError, match="nothing to confirm: .* none meets accuracy >= 2"):
        confirm(recorded, where=["accuracy >= 2"])
    folder = changed(recorded, tmp_path, status="failed")
    with pytest.raises(StoreError, match="nothing to confirm: .* all failed"):
        confirm(folder)


def test_a_running_sweep_is_refused_and_that_of_a_dead_driver_is_not(recorded):
    with Lock(Store(recorded)), pytest.raises(StoreBusy, match="in use by process"):
        confirm(recorded)


def test_a_folder_without_a_sweep_is_refused_and_stays_empty(tmp_path):
    with pytest.raises(StoreError, match="is not a results folder"):
        confirm(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_has_read_its_test_split_is_refused(tmp_path):
    text = TEXT + "measure: {models: 4, accuracy_on: test}\n"
    folder = record_sweep(tmp_path / "out", text)
    with pytest.raises(StoreError, match="measured accuracy on its test split"):
        confirm(folder)


def test_records_that_mean_something_else_today_are_refused(recorded, tmp_path):
    config = json.loads(raysweep.load(recorded).trials["config"].iloc[0])
    config["training"]["epochs"] = 9
    folder = changed(recorded, tmp_path, config=json.dumps(config))
    with pytest.raises(StoreError, match="cannot be confirmed: this version of raysweep"):
        confirm(folder)
    del config["model"]
    shutil.rmtree(folder)
    folder = changed(recorded, tmp_path, config=json.dumps(config))
    with pytest.raises(StoreError, match="cannot be confirmed: raysweep did not write a record"):
        confirm(folder)


def test_a_condition_on_no_column_is_refused(recorded):
    with pytest.raises(SpaceError, match="unknown column 'acuracy'"):
        confirm(recorded, where=["acuracy >= 0.1"])


def test_a_link_in_place_of_the_confirmation_is_refused(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "sweep")
    (tmp_path / "mine").mkdir()
    (tmp_path / "sweep/confirm").symlink_to(tmp_path / "mine")
    with pytest.raises(StoreError, match="is a link"):
        confirm(str(tmp_path / "sweep"))


def test_another_confirmation_than_that_in_the_folder_is_refused(recorded, tmp_path):
    folder = shutil.copytree(recorded, tmp_path / "out")
    sweep = raysweep.load(str(folder))
    configs = dict(zip(sweep.trials["trial_id"], sweep.trials["config"], strict=True))
    measure = Measure(models=4, accuracy_on="test")
    space = confirmation_space(sweep.documents[0], configs, measure, place="out")
    (folder / "confirm").mkdir()
    (folder / "confirm/space.yaml").write_text(yaml.safe_dump(space.to_plain()))

    with pytest.raises(StoreError, match=r"another confirmation:\n  - measure.models: 4 -> 8\n"):
        confirm(str(folder), models=8)
    rule = f"  - trial {sweep.trials['trial_id'][2]}: not chosen now\n.*remove .* to begin anew"
    with pytest.raises(StoreError, match=rule):
        confirm(str(folder), models=4, where=["dropout >= 0.2"])


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_front_is_confirmed_continued_and_shown(tmp_path):
    folder = record_sweep(tmp_path / "out", SMALL, POINTS)
    before = finished(tmp_path / "out")
    options = ("confirm", "out", "--models", "4", "--top", "2")
    code, out, err = run(*options, cwd=tmp_path)
    assert code == 0, err
    assert "What the sweep claimed, and what was confirmed" in out
    assert finished(tmp_path / "out") == before
    assert (tmp_path / "out/confirm/confirmed.png").stat().st_size > 10_000

    sweep, again = raysweep.load(folder), raysweep.load(f"{folder}/confirm")
    rows = read_confirmed(Store(folder))
    assert set(rows["trial_id"]) <= {sweep.trials["trial_id"].iloc[0], *sweep.front()["trial_id"]}
    assert rows["is_baseline"].tolist() == [True] + [False] * (len(rows) - 1)
    assert set(again.trials["accuracy_on"]) == {"test"}
    assert set(again.trials["split_hash"]) == set(sweep.trials["split_hash"])
    assert set(again.trials["seed"]).isdisjoint(sweep.trials["seed"])
    assert set(again.trials["models"]) == {4}
    assert len(pd.read_parquet(tmp_path / "out/confirm/confirmed.parquet")) == len(again.trials)

    first = finished(tmp_path / "out/confirm")
    lost = sorted(first)[0]
    (tmp_path / "out/confirm/trials" / lost).unlink()
    code, out, err = run(*options, "--json", cwd=tmp_path)
    assert code == 0, err
    assert len(json.loads(out)["configurations"]) == len(rows)
    second = finished(tmp_path / "out/confirm")
    assert {name for name in second if second[name] != first[name]} == {lost}
    assert read_confirmed(Store(folder)).equals(rows)

    with pytest.raises(StoreError, match="measured accuracy on its test split"):
        confirm(f"{folder}/confirm")
