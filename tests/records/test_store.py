import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from raysweep.errors import SpaceError, StoreError
from raysweep.records.choice import choose
from raysweep.records.columns import AttackRecord, EpochRecord, ScoreRows, TrialRecord, TrialResult
from raysweep.records.compaction import compact, drop_orphans, tidy
from raysweep.records.conditions import parse_condition, parse_conditions
from raysweep.records.folder import Folder
from raysweep.records.objectives import Objectives
from raysweep.records.results import load
from raysweep.records.store import Store
from raysweep.records.tables import pack

OBJECTIVES = Objectives.of("accuracy", "attack_auc", "inversion_mse")


def result(trial_id="a", accuracy=0.9, auc=0.6, mse=0.02, **changes):
    given = {
        "trial_id": trial_id,
        "status": "ok",
        "defences": {"dropout": 0.1, "l2": 0.0, "l2_scope": "output", "target_epsilon": 2.0},
        "accuracy": accuracy,
        "attack_auc": auc,
        "inversion_mse": mse,
        "inversion_floor": 0.07,
        "inversion_converged": True,
        "collapsed": False,
        "n_classes": 10,
        "epsilon": 1.9,
    }
    scores = ScoreRows(
        attack="loss",
        example=np.array([3, 4]),
        member=np.array([True, False]),
        score=np.array([0.5, -0.5]),
    )
    found = TrialResult(
        trial=TrialRecord(**(given | changes)),
        attacks=(AttackRecord(trial_id=trial_id, family="membership", attack="loss", auc=auc),),
        epochs=(
            EpochRecord(
                trial_id=trial_id,
                epoch=1,
                loss=1.0,
                train_accuracy=0.5,
                accuracy=0.5,
                epsilon=np.inf,
            ),
        ),
        scores=(scores,),
    )
    return pack(found)


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "out"))
    document = {
        "name": "x",
        "objectives": OBJECTIVES.to_plain(),
        "dataset": {"name": "digits"},
        "seed": 0,
    }
    store.folder.write_bytes(yaml.safe_dump(document).encode(), "space.yaml")
    return store


def test_records_are_read_back_as_they_were_written(store):
    store.write(result())
    row = load(store.path).trials.iloc[0]
    assert (row["dropout"], row["l2_scope"], row["epsilon"], row["target_epsilon"]) == (
        0.1,
        "output",
        1.9,
        2.0,
    )
    assert load(store.path).attacks["auc"].tolist() == [0.6]
    assert load(store.path).epochs["epsilon"].tolist() == [np.inf]
    assert load(store.path).scores["member"].tolist() == [True, False]


def test_the_rows_of_the_model_and_of_the_recipe_are_both_kept(store):
    rows = [
        AttackRecord(trial_id="a", family="membership", attack="loss", models=models)
        for models in (1, 16, 16)
    ]
    store.write(pack(TrialResult(trial=TrialRecord(trial_id="a", status="ok"), attacks=(*rows,))))
    assert load(store.path).attacks["models"].tolist() == [1, 16]


def test_files_are_plain_parquet_and_no_temporary_file_stays(store):
    store.write(result())
    files = [name for _, _, names in os.walk(store.path) for name in names]
    assert not [name for name in files if name.endswith(".tmp")]
    assert pd.read_parquet(f"{store.path}/trials").loc[0, "trial_id"] == "a"


def test_a_trial_is_finished_when_its_own_file_is_there(store):
    store.write(result("a"))
    store.write(result("b"))
    os.remove(f"{store.path}/trials/b.parquet")
    assert load(store.path).attacks["trial_id"].tolist() == ["a"]


def test_a_torn_file_is_named_and_nothing_is_removed(store):
    store.write(result())
    path = f"{store.path}/trials/torn.parquet"
    with open(path, "wb") as file:
        file.write(b"PAR1 torn")
    with pytest.raises(
        StoreError, match=r"torn\.parquet is damaged or raysweep did not write it.*move it out"
    ):
        _ = load(store.path).trials
    assert os.path.exists(path)


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("attacks/b.parquet", r"and trials/b\.parquet with it.*that trial again"),
        ("attacks/merged-000001.parquet", "goes on without its rows"),
        ("trials/merged-000001.parquet", "runs its trials again"),
    ],
)
def test_a_torn_file_says_what_to_move_away(store, file, remedy):
    store.write(result("b"))
    with open(f"{store.path}/{file}", "wb") as torn:
        torn.write(b"PAR1 torn")
    with pytest.raises(StoreError, match=f"is damaged.*{remedy}"):
        store.read(file.partition("/")[0])


def test_a_foreign_file_is_named(store):
    store.write(result())
    pd.DataFrame({"x": [1]}).to_parquet(f"{store.path}/trials/foreign.parquet")
    with pytest.raises(
        StoreError, match=r"foreign\.parquet is damaged or raysweep did not write it"
    ):
        _ = load(store.path).trials


def test_a_file_with_wrong_types_is_named(store):
    pd.DataFrame({"trial_id": ["a"], "accuracy": ["high"]}).to_parquet(f"{store.path}/w.parquet")
    os.makedirs(f"{store.path}/trials")
    os.rename(f"{store.path}/w.parquet", f"{store.path}/trials/w.parquet")
    with pytest.raises(StoreError, match=r"w\.parquet is damaged or raysweep"):
        _ = load(store.path).trials


def test_a_folder_without_a_space_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"is not a results folder \(it holds no space.yaml\)"):
        load(str(tmp_path))


def test_an_address_with_one_slash_is_no_local_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="write s3://bucket/x, or ./s3:/bucket/x"):
        Folder("s3:/bucket/x")
    assert Folder("./s3:/bucket/x").is_local
    assert Folder("lr:/bucket/x").is_local


def test_a_file_in_place_of_a_results_folder_is_told_as_one(tmp_path):
    (tmp_path / "space.yaml").write_text("name: x\n")
    with pytest.raises(StoreError, match=r"space.yaml is not a results folder"):
        load(f"{tmp_path}/space.yaml")
    with pytest.raises(StoreError, match=r"space.yaml is a file, not a folder; give another --out"):
        Store(f"{tmp_path}/space.yaml").folder.write_bytes(b"x", "lock.json")


@pytest.mark.skipif(sys.platform != "linux", reason="uses /dev/full")
def test_a_full_disk_is_an_error_and_the_records_stay(store, monkeypatch):
    store.write(result("a"))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device.*finished trials are safe"):
        store.write(result("b"))
    assert load(store.path).trials["trial_id"].tolist() == ["a"]


def test_a_store_may_lie_on_any_file_system():
    store = Store("memory://sweeps/one")
    store.folder.write_bytes(
        yaml.safe_dump({"name": "x", "objectives": OBJECTIVES.to_plain()}).encode(), "space.yaml"
    )
    store.write(result())
    assert load("memory://sweeps/one").trials["accuracy"].tolist() == [0.9]


def test_merged_files_hold_what_the_small_ones_held(store):
    for number in range(6):
        store.write(result(f"{number:016x}", number=number))
    os.rename(f"{store.path}/trials/{5:016x}.parquet", f"{store.path}/kept")  # not finished
    names = ("trials", "attacks", "epochs", "scores")
    before = [getattr(load(store.path), name) for name in names]
    compact(store, least=5)
    for name, expected in zip(names, before, strict=True):
        pd.testing.assert_frame_equal(getattr(load(store.path), name), expected)
    assert os.listdir(f"{store.path}/trials") == ["merged-000001.parquet"]
    assert f"{5:016x}.parquet" in os.listdir(f"{store.path}/attacks")
    assert len(pd.read_parquet(f"{store.path}/trials")) == 5


def test_the_newest_row_of_a_trial_counts(store):
    store.write(result("a" * 16, status="failed", accuracy=None))
    compact(store, least=1)
    store.write(result("a" * 16, accuracy=0.7))
    assert load(store.path).trials["accuracy"].tolist() == [0.7]
    compact(store, least=1)
    assert load(store.path).trials["accuracy"].tolist() == [0.7]
    assert len(os.listdir(f"{store.path}/trials")) == 2


def test_an_interrupted_merge_loses_nothing_and_is_tidied(store, monkeypatch):
    for number in range(4):
        store.write(result(f"{number:016x}", number=number))
    before = load(store.path).trials
    removed, real = [], Folder.remove

    def remove(self, *parts):
        removed.append(parts)
        if len(removed) > 13:  # three tables are done, and one row of the last
            raise KeyboardInterrupt
        real(self, *parts)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            compact(store, least=4)
    pd.testing.assert_frame_equal(load(store.path).trials, before)
    assert len(load(store.path).attacks) == 4
    tidy(store)
    assert os.listdir(f"{store.path}/trials") == ["merged-000001.parquet"]
    pd.testing.assert_frame_equal(load(store.path).trials, before)


DIES_WHILE_IT_WRITES = """
import os, sys
from raysweep.records.store import Store
os.replace = lambda *_: os._exit(9)
Store(sys.argv[1]).folder.write_bytes(b"half", "trials", "a.parquet")
"""


def test_half_written_files_of_a_dead_driver_are_removed(store):
    command = [sys.executable, "-c", DIES_WHILE_IT_WRITES, store.path]
    assert subprocess.run(command, check=False).returncode == 9
    trials = Path(store.path) / "trials"
    (trials / ".mine.tmp").write_text("not raysweep's")
    assert len(os.listdir(trials)) == 2
    tidy(store)
    assert os.listdir(trials) == [".mine.tmp"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_created_once_also_where_there_are_no_hard_links(store, monkeypatch, links):
    def refused(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    assert store.folder.create_bytes(b"first", "lock.json") is links
    with pytest.raises(FileExistsError):
        store.folder.create_bytes(b"second", "lock.json")
    assert store.folder.read_bytes("lock.json") == b"first"
    assert not list(Path(store.path).glob(".*"))


def test_rows_of_unfinished_trials_are_removed_and_nothing_else(store):
    finished, orphan = "a" * 16, "b" * 16
    store.write(result(finished))
    store.write(result(orphan))
    os.remove(f"{store.path}/trials/{orphan}.parquet")
    store.write(result("c" * 16))  # has a row, though it is not among the finished
    with open(f"{store.path}/scores/mine.parquet", "wb") as own:
        own.write(b"not raysweep's")
    drop_orphans(store, {finished})
    assert os.listdir(f"{store.path}/attacks") == [f"{finished}.parquet"]
    assert set(load(store.path).trials["trial_id"]) == {finished, "c" * 16}
    assert set(os.listdir(f"{store.path}/scores")) == {f"{finished}.parquet", "mine.parquet"}


def test_a_table_without_rows_has_no_file(store):
    store.write(result("a"))
    assert sorted(os.listdir(store.path)) == ["attacks", "epochs", "scores", "space.yaml", "trials"]
    assert load(store.path).reconstructions.empty


def test_a_trial_one_of_whose_files_is_not_written_is_not_finished(store):
    os.makedirs(f"{store.path}/attacks/a.parquet")  # no file can take its place
    with pytest.raises(StoreError, match="cannot be written"):
        store.write(result("a"))
    assert not os.path.exists(f"{store.path}/trials")
    assert sorted(os.listdir(f"{store.path}/epochs")) == ["a.parquet"]  # no .tmp


def test_the_row_of_a_trial_is_written_after_the_last_check(store):
    def refused():
        raise StoreError("in use by another")

    with pytest.raises(StoreError, match="in use"):
        store.write(result("a"), before_row=refused)
    assert load(store.path).trials.empty


@pytest.mark.parametrize("least", [3, 99], ids=["merged", "unmerged"])
def test_a_part_of_a_table_is_that_part_of_the_whole(store, least):
    for number, trial_id in enumerate("abcd"):
        store.write(result(trial_id, 0.6 + number / 10, number=number))
        if number == 2:
            compact(store, least=least)
    results = load(store.path)
    whole = results.trials[["trial_id", "number", "accuracy"]]
    part = results.rows(["accuracy"])[["trial_id", "number", "accuracy"]]
    pd.testing.assert_frame_equal(part, whole)
    some = results.rows(["accuracy"], trials={"b", "d", "none"})
    assert some["trial_id"].tolist() == ["b", "d"]
    assert sorted(results.of("scores", {"c", "d"})["trial_id"]) == ["c", "c", "d", "d"]
    assert results.rows(trials={"none"}).empty


def test_files_of_other_trials_are_not_opened(store):
    store.write(result("a"))
    with open(f"{store.path}/trials/torn.parquet", "wb") as file:
        file.write(b"PAR1 torn")
    assert load(store.path).rows(trials={"a"})["accuracy"].tolist() == [0.9]


def test_a_reader_finds_the_records_that_are_merged_while_it_reads(store, monkeypatch):
    for number in range(4):
        store.write(result(f"{number:016x}", number=number))
    before, files = load(store.path).trials, Store.files

    def then_merge(self, table):
        found = files(self, table)
        if table == "trials" and len(found) == 4:
            with monkeypatch.context() as patch:
                patch.setattr(Store, "files", files)
                compact(store, least=4)
        return found

    monkeypatch.setattr(Store, "files", then_merge)
    pd.testing.assert_frame_equal(load(store.path).trials, before)


def test_a_file_with_bytes_that_are_not_text_is_named(store):
    store.write(result())
    bad = pa.array([b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"trial_id": ["b"], "error": bad}), f"{store.path}/trials/b.parquet")
    with pytest.raises(StoreError, match=r"b\.parquet is damaged or raysweep did not write it"):
        _ = load(store.path).trials


def test_an_unknown_objective_is_refused(store):
    document = {"name": "x", "objectives": {"acuracy": "max"}}
    store.folder.write_bytes(yaml.safe_dump(document).encode(), "space.yaml")
    with pytest.raises(StoreError, match="not a space that raysweep wrote.*mean 'accuracy'"):
        load(store.path)


def frame(*results):
    return pd.DataFrame([r.trial.row() for r in results])


def test_an_auc_below_one_half_is_no_more_private_than_one_half():
    trials = frame(result("a", auc=0.42), result("b", auc=0.5))
    assert OBJECTIVES.comparable(trials)[:, 1].tolist() == [0.5, 0.5]
    assert trials["attack_auc"].tolist() == [0.42, 0.5]


def test_a_reconstruction_beyond_the_mean_image_counts_as_the_mean_image():
    trials = frame(result("a", mse=0.09), result("b", mse=0.07))
    assert OBJECTIVES.comparable(trials)[:, 2].tolist() == [0.07, 0.07]


@pytest.mark.parametrize("auc", [0.42, 0.7, None])
@pytest.mark.parametrize(("mse", "floor"), [(0.09, 0.07), (0.02, 0.07), (0.02, None), (None, 0.1)])
def test_one_record_compares_as_it_does_among_many(auc, mse, floor):
    one = result(auc=auc, mse=mse, inversion_floor=floor)
    among = OBJECTIVES.comparable(frame(one, result()))[0]
    assert OBJECTIVES.comparable(one.trial.row()) == pytest.approx(among, nan_ok=True)


def test_collapsed_unconverged_and_failed_trials_stay_off_the_front_unless_asked():
    trials = frame(
        result("good"),
        result("collapsed", accuracy=0.1, auc=0.5, mse=0.07, collapsed=True),
        result("unconverged", mse=0.069, inversion_converged=False),
        result("failed", status="failed", accuracy=None, auc=None, mse=None, collapsed=None),
    )
    assert OBJECTIVES.front(trials)["trial_id"].tolist() == ["good"]
    everything = OBJECTIVES.front(trials, everything=True)["trial_id"].tolist()
    assert everything == ["unconverged", "collapsed"]  # the first of them dominates the good one


def test_a_pruned_trial_is_no_result_however_good_it_looked():
    good, better = result("good", 0.8), result("pruned", 0.99, 0.5, 0.06, status="pruned")
    alone, together = frame(good), frame(good, better)
    assert OBJECTIVES.front(together, everything=True)["trial_id"].tolist() == ["good"]
    assert OBJECTIVES.hypervolume(together) == OBJECTIVES.hypervolume(alone) > 0
    assert choose(together, OBJECTIVES, [], "accuracy").row["trial_id"] == "good"


def test_the_worst_seconds_are_those_of_a_finished_trial():
    trials = frame(result("a", train_seconds=3.0), result("b", status="pruned", train_seconds=9.0))
    corner = Objectives.of("accuracy", "train_seconds").reference_point(trials)
    assert corner == {"accuracy": 0.1, "train_seconds": 3.0}


def test_the_hypervolume_is_measured_from_chance_auc_one_and_mse_zero():
    trials = frame(result("a", accuracy=0.6, auc=0.5, mse=0.02))
    assert OBJECTIVES.hypervolume(trials) == pytest.approx((0.6 - 0.1) * 0.5 * 0.02)


@pytest.mark.parametrize(
    ("block", "value"), [("dataset", {"name": "mnist"}), ("measure", {"models": 16})]
)
def test_sweeps_that_measured_different_things_share_no_front(store, tmp_path, block, value):
    store.write(result())
    other = Store(str(tmp_path / "other"))
    document = {
        "name": "y",
        "objectives": OBJECTIVES.to_plain(),
        "dataset": {"name": "digits"},
        "seed": 0,
    }
    other.folder.write_bytes(yaml.safe_dump(document | {block: value}).encode(), "space.yaml")
    with pytest.raises(StoreError, match=f"cannot share a front, `{block}` differs"):
        load(store.path, other.path)


def test_the_best_is_the_best_of_those_that_fit():
    trials = frame(result("a", 0.95, 0.7), result("b", 0.9, 0.55), result("c", 0.85, 0.52))
    choice = choose(trials, OBJECTIVES, parse_conditions(["attack_auc <= 0.56"]), "accuracy")
    assert (choice.row["trial_id"], choice.fits) == ("b", True)
    assert choose(trials, OBJECTIVES, [], "attack_auc").row["trial_id"] == "c"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "none has ended; run the sweep"),
        (
            [result("a", status="failed", error="it broke")],
            r"1 failed \(the first: it broke\); mend",
        ),
        ([result("a", collapsed=True)], "all 1 that ended ok collapsed .*; --all includes them"),
        ([result("a", auc=None)], "none has attack_auc; choose --by another"),
    ],
)
def test_where_no_trial_can_be_chosen_the_reason_and_the_remedy_are_told(rows, words):
    trials = frame(*(rows or [result()])).iloc[: len(rows)]
    objectives = Objectives.of("accuracy")
    with pytest.raises(StoreError, match=f"no trial can be chosen: .*{words}"):
        choose(trials, objectives, [], "attack_auc")


def test_where_nothing_fits_the_nearest_is_named():
    trials = frame(result("a", 0.95, 0.7), result("b", 0.9, 0.55))
    conditions = parse_conditions(["accuracy >= 0.94", "attack_auc <= 0.56"])
    choice = choose(trials, OBJECTIVES, conditions, "accuracy")
    assert (choice.row["trial_id"], choice.fits) == ("b", False)


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy => 1", "__import__('os')", "accuracy >= x", "a.b > 1"]
)
def test_a_text_that_is_not_a_condition_is_refused_and_never_run(text):
    with pytest.raises(SpaceError, match="is not a condition"):
        parse_condition(text, ["accuracy"])


def test_the_best_by_auc_is_not_the_luckiest_below_one_half():
    trials = frame(result("a", 0.6, 0.46), result("b", 0.9, 0.49))
    assert choose(trials, OBJECTIVES, [], "attack_auc").row["trial_id"] == "b"


def test_best_chooses_only_by_an_objective():
    with pytest.raises(SpaceError, match="is not an objective; did you mean 'attack_auc'"):
        choose(frame(result()), OBJECTIVES, [], "attack_auc_high")


def test_a_file_that_is_being_written_disturbs_no_reader(store, monkeypatch):
    store.write(result("a"))
    monkeypatch.setattr(os, "replace", lambda *_: None)
    store.write(result("b"))
    assert pd.read_parquet(f"{store.path}/trials")["trial_id"].tolist() == ["a"]


def test_an_unknown_column_suggests_the_nearest():
    with pytest.raises(SpaceError, match="did you mean 'accuracy'"):
        parse_condition("acuracy >= 0.9", ["accuracy", "epsilon"])
