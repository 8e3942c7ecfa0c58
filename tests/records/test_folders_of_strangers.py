"""A results folder from somebody else: nothing outside it changes, and nothing in it is lost."""

import io
import json
import math
import os
import shutil
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SMALL
from records.test_store import result
from rich.console import Console

from raysweep.cli import app
from raysweep.driver.lock import Lock, machine_id
from raysweep.driver.sweep import sweep
from raysweep.errors import StoreBusy, StoreError
from raysweep.records.compaction import compact, tidy
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import SCHEMAS
from raysweep.report.build import write as write_report
from raysweep.report.figures import write_front
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


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name", ["trials/x.parquet", "space.yaml", "lock.json", "scores/merged-7.parquet"]
)
@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "zeros"]
)
def test_a_pipe_or_an_endless_file_is_an_error_at_once(folder, name, make):
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(StoreError, match=f"{name} is not a file"):
        take_all(folder)


def take_all(folder):
    """Read all tables of a folder, and take its lock."""
    with Lock(Store(str(folder))):
        _ = load(str(folder)).scores


def test_a_space_of_more_than_8_mib_is_not_read_whole(folder):
    with (folder / "space.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match="more than 8,388,608 bytes"):
        load(str(folder))


def test_a_file_whose_rows_are_another_trials_is_an_error_that_names_it(folder):
    (folder / "trials" / f"{0:016x}.parquet").rename(folder / "trials" / "zzz.parquet")
    with pytest.raises(
        StoreError, match=r"trials/zzz.parquet .*not those of the trial in its name"
    ):
        _ = load(str(folder)).trials


@pytest.mark.parametrize("trial_id", [None, "x\nmodel: y", "../x", ""])
def test_an_id_that_raysweep_does_not_give_is_an_error(folder, trial_id):
    table = pa.table({"trial_id": pa.array([trial_id], pa.string())})
    pq.write_table(table, folder / "trials" / "merged-1.parquet")
    with pytest.raises(StoreError, match=r"merged-1.parquet .*trial_id"):
        _ = load(str(folder)).trials


@pytest.mark.parametrize("since", [1e300, "5", -1, None, True])
def test_a_lock_with_an_impossible_time_is_taken_over(folder, since):
    held = {"host": "h", "pid": os.getpid(), "token": "t", "machine": machine_id()}
    held |= {"since": since, "heartbeat": since}
    (folder / "lock.json").write_text(json.dumps(held))
    with Lock(Store(str(folder))):
        pass


def test_files_that_a_kill_left_half_written_are_removed(folder):
    names = [
        ".front.parquet.0a1b2c3d.tmp",
        "trials/.x.parquet.0a1b2c3d.tmp",
        ".lock.json.0a1b2c3d.tmp",
    ]
    mine = [folder / ".notes.tmp", folder / ".lock.json.11111111.tmp"]
    for path in (*mine, *(folder / name for name in names)):
        path.write_text("half")
    os.utime(folder / names[2], (0, 0))
    tidy(Store(str(folder)))
    assert not [name for name in names if (folder / name).exists()]
    assert all(path.exists() for path in mine)  # the second may be another driver's, right now


HOSTILE = "[/x]\x1b]0;owned\x07[link=http://x]=cmd"


def test_text_of_records_reaches_a_terminal_and_tables_without_its_power(folder, capsys):
    rows = result("d" * 16, 0.95, strongest_attack=HOSTILE, error="e" * 10_000, scenario="=1+1")
    Store(str(folder)).write(rows)
    held = {"host": HOSTILE, "pid": os.getpid(), "token": "t", "machine": machine_id()}
    (folder / "lock.json").write_text(json.dumps(held | {"since": 1, "heartbeat": time.time()}))
    app(["front", str(folder)], standalone_mode=False)
    app(["front", str(folder), "--format", "csv"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "[/x]?]0;owned?" in out
    assert ",'=1+1," in out
    assert "\x1b" not in out
    write_report([str(folder)], folder / "report.html")
    assert "\x1b" not in (folder / "report.html").read_text()
    console = Console(file=io.StringIO())
    with pytest.raises(StoreBusy, match=r"on \[/x\]\?\]0;owned"):
        sweep(parse_space(SMALL, "small.yaml"), out=str(folder), console=console)


@pytest.mark.parametrize("spent", [[math.inf] * 3, [math.inf, 2.0, 8.0], [math.inf, None, 0.0]])
def test_an_objective_that_is_infinite_or_absent_has_a_front_and_a_page(tmp_path, capsys, spent):
    store = Store(str(tmp_path / "out"))
    store.folder.write_bytes(b"objectives: {accuracy: max, epsilon: min}\n", "space.yaml")
    for number, epsilon in enumerate(spent):
        rows = result(f"{number:016x}", 0.9 - number / 10, epsilon=epsilon, number=number)
        store.write(rows)
    app(["front", store.path], standalone_mode=False)
    assert "nan" not in capsys.readouterr().out
    assert write_front(load(store.path), load(store.path).front(), "x")
    assert write_report([store.path], tmp_path / "report.html")


def test_two_colons_in_a_name_are_part_of_it(tmp_path):
    stores = [Store(str(tmp_path / name)) for name in ("x::1", "x::2")]
    os.makedirs(stores[0].path)
    stores[0].write(result("a"))
    assert [len(store.files("trials")) for store in stores] == [1, 0]
