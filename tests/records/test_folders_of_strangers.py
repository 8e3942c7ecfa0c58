"""A results folder from somebody else: nothing outside it changes, and nothing in it is lost."""

import os
import shutil

import pytest
from conftest import SMALL
from records.test_store import result

from raysweep.driver.sweep import sweep
from raysweep.errors import StoreError
from raysweep.records.compaction import compact
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import SCHEMAS
from raysweep.report.build import write as write_report
from raysweep.space.parsing import parse_space


@pytest.fixture
def folder(tmp_path):
    """A results folder with three trials."""
    store = Store(str(tmp_path / "mine"))
    store.folder.write_bytes(b"objectives: {accuracy: max, attack_auc: min}\n", "space.yaml")
    for number in range(3):
        store.write(result(f"{number:016x}", number=number))
    return tmp_path / "mine"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_sweep_refuses_a_folder_in_which_a_table_is_a_link(folder, tmp_path, table):
    stranger, before = tmp_path / "theirs", contents(folder)
    stranger.mkdir()
    (stranger / table).symlink_to("../mine/trials")
    with pytest.raises(StoreError, match=f"theirs/{table} is a link to ../mine/trials.*remove"):
        sweep(parse_space(SMALL, "small.yaml"), out=str(stranger))
    assert contents(folder) == before
    assert os.listdir(stranger) == [table]


def test_nothing_is_written_or_removed_through_a_link(folder, tmp_path):
    stranger, before = Store(str(tmp_path / "theirs")), contents(folder)
    os.mkdir(stranger.path)
    (tmp_path / "theirs" / "attacks").symlink_to(folder / "attacks")
    name = f"{0:016x}.parquet"
    for attempt in (
        lambda: stranger.folder.remove("attacks", name),
        lambda: stranger.folder.write_bytes(b"", "attacks", name),
        lambda: stranger.folder.create_bytes(b"", "attacks", "new.parquet"),
        lambda: stranger.remove_all("attacks", [name]),
        lambda: stranger.write(result("d" * 16)),
    ):
        with pytest.raises(StoreError, match="is a link to"):
            attempt()
    assert contents(folder) == before


def test_a_linked_file_is_replaced_and_what_it_leads_to_stays(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("front.png", "report.html", "report-front-accuracy-attack_auc.png"):
        (folder / name).symlink_to(precious)
    Store(str(folder)).folder.write_bytes(b"x", "front.png")
    write_report([str(folder)], folder / "report.html")
    assert precious.read_text() == "precious"
    assert not [path for path in folder.iterdir() if path.is_symlink() or path.suffix == ".tmp"]


def test_a_results_folder_that_is_a_link_itself_is_one_like_others(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    store = Store(str(tmp_path / "linked"))
    store.write(result("d" * 16))
    compact(store, least=4)
    assert len(load(store.path).trials) == len(load(str(folder)).trials) == 4


@pytest.mark.parametrize(
    "name", ["merged-999999", "merged-1000000", "merged-abc", "merged-", "merged-7"]
)
def test_a_merge_overwrites_no_file_and_loses_no_record(folder, name):
    store = Store(str(folder))
    compact(store, least=1)
    for table in SCHEMAS:
        if (folder / table).exists():
            shutil.move(
                folder / table / "merged-000001.parquet", folder / table / f"{name}.parquet"
            )
    for number in range(3, 9):
        store.write(result(f"{number:016x}", number=number))
        compact(store, least=1)
    assert load(store.path).trials["number"].tolist() == list(range(9))
    assert len(load(store.path).attacks) == 9


def test_later_merges_come_before_earlier_ones_whatever_their_length(folder):
    for name in ("merged-1000000", "merged-999999", "merged-000002"):
        shutil.copy(folder / "trials" / f"{0:016x}.parquet", folder / "trials" / f"{name}.parquet")
    names = [os.path.basename(path) for path in Store(str(folder)).files("trials")]
    assert names[3:] == ["merged-1000000.parquet", "merged-999999.parquet", "merged-000002.parquet"]
