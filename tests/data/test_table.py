"""A .csv is read by the names of its columns."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL
from sklearn.datasets import load_breast_cancer

from raysweep import data
from raysweep.config import to_plain
from raysweep.data import Dataset
from raysweep.errors import DataError, SpaceError
from raysweep.space.parsing import parse_space


@pytest.fixture
def table():
    """Return the breast cancer table with its diagnosis as text."""
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = np.where(frame.pop("target") == 0, "malignant", "benign")
    return frame


def read(path, **settings):
    spec = {"name": "csv", "path": str(path), "label": "diagnosis", **settings}
    return data.load(spec, seed=0)


def test_a_table_is_read_as_the_arrays_in_it(table, tmp_path):
    table.to_csv(tmp_path / "breast.csv", index=False)
    np.savez(
        tmp_path / "breast.npz",
        features=table.drop(columns="diagnosis").to_numpy(),
        labels=(table["diagnosis"] == "malignant").astype(int),
    )
    ours = read(tmp_path / "breast.csv")
    theirs = data.load({"name": "npz", "path": str(tmp_path / "breast.npz")}, seed=0)
    assert ours.hash == theirs.hash
    assert np.array_equal(ours.members.features, theirs.members.features)
    assert np.array_equal(ours.members.labels, theirs.members.labels)
    assert any("breast.csv): classes: 0 = benign, 1 = malignant" in note for note in ours.notes)


def test_raw_rows_are_scaled_as_the_splits_were(table, tmp_path):
    table.to_csv(tmp_path / "breast.csv", index=False)
    splits = read(tmp_path / "breast.csv")
    raw = pd.read_csv(tmp_path / "breast.csv")[list(splits.scaling.names)].to_numpy()
    members = splits.members
    assert np.array_equal(splits.scaling.apply(raw[members.indices]), members.pixels())
    assert splits.classes == ("benign", "malignant")


def test_a_column_of_groups_is_no_feature_and_one_can_be_left_out(table, tmp_path):
    table["patient"] = np.arange(len(table)) // 3
    table["number"] = np.arange(len(table))
    table.to_csv(tmp_path / "a.csv", index=False, sep=";")
    splits = read(tmp_path / "a.csv", group="patient", leave_out=["number"], separator=";")
    assert splits.members.shape == (30,)
    assert not set(splits.members.indices // 3) & set(splits.nonmembers.indices // 3)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({}, {"label": "diagnose"}, r"a\.csv has no column 'diagnose'; did you mean 'diagnosis'"),
        ({}, {"separator": ";"}, "has no column 'diagnosis'"),
        ({"sex": "f"}, {}, "columns of numbers, and sex holds texts, such as .f.; .* `leave_out`"),
        ({"age": np.nan}, {}, r"569 values that are not finite .* feature 30 \(age\)"),
        (
            {},
            {"ranges": {"mean radios": [0, 1]}},
            "`ranges` has no feature .*did you mean 'mean rad",
        ),
        ({"diagnosis": None}, {}, "column 'diagnosis' has no value in row 0; fill it, or leave"),
        (
            {"diagnosis": "None"},
            {},
            "no value in row 0: 'None' stands for a missing value; rename it .* to no_diagnosis",
        ),
        (
            {"patient": "NA"},
            {"group": "patient"},
            "column 'patient' has no value in row 0: 'NA' stands",
        ),
        (
            {"age": "3,5"},
            {},
            "age holds texts, such as '3,5'; write them as numbers with a decimal point",
        ),
        (
            {"number": 10**17 + np.arange(569)},
            {},
            r"a\.csv: column 'number' has 569 whole numbers, and 37 in double precision; subtract",
        ),
    ],
)
def test_tables_that_break_a_rule_are_refused(table, tmp_path, change, settings, message):
    table.assign(**change).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv", **settings)


def test_a_class_of_one_row_is_called_by_its_name(table, tmp_path):
    table.loc[3, "diagnosis"] = "unclear"
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"class 2 \(unclear\) has a single example"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("first_line", "row", "message"),
    [
        ("diagnosis,a,diagnosis", "x,1,x", "names .* must differ, and 'diagnosis' stands more"),
        ("diagnosis,a,a", "x,1,2", "names .* must differ, and 'a' stands more than once"),
        ("diagnosis,a,b", "x,1,2,3", "rows have more cells than the first line has names"),
        ("diagnosis,a", "N,x,1", "rows have more cells than the first line has names"),
        ("diagnosis,a", "", "has a first line of names, and no rows"),
        ("diagnosis;a", "x;1", "has no column 'diagnosis'.*; write `separator: \";\"`"),
    ],
)
def test_a_first_line_that_does_not_fit_the_rows_is_refused(tmp_path, first_line, row, message):
    rows = [row.replace("N", str(number)) for number in range(50)]
    (tmp_path / "a.csv").write_text("\n".join([first_line, *rows]))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv")


def test_a_separator_at_the_end_of_each_row_shifts_no_column(table, tmp_path):
    table = table[["diagnosis", *table.columns[:-1]]]
    table.to_csv(tmp_path / "a.csv", index=False)
    first_line, rows = (tmp_path / "a.csv").read_text().split("\n", 1)
    (tmp_path / "b.csv").write_text(first_line + "\n" + rows.replace("\n", ",\n"))
    assert read(tmp_path / "b.csv").hash == read(tmp_path / "a.csv").hash


def test_row_numbers_without_a_name_are_not_taken_for_a_feature(table, tmp_path):
    table.to_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"write `leave_out: \['Unnamed: 0'\]`"):
        read(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv", leave_out=["Unnamed: 0"]).members.shape == (30,)


def test_files_that_are_no_table_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"a\.csv is not a table of equal rows \(.* saw 3\)"):
        read(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"a,diagnosis\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"b\.csv is not a table .*UTF-8"):
        read(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("")
    with pytest.raises(DataError, match=r"c\.csv is not a table"):
        read(tmp_path / "c.csv")
    pd.DataFrame({"diagnosis": [0, 1] * 20}).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match="columns of numbers, and there are none"):
        read(tmp_path / "d.csv")


DIGITS = "{name: digits, members: 120, nonmembers: 60, pool: 200, validation: 100, test: 100}"


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("breast.csv", r"{name: csv, path: breast.csv, label: COLUMN}"),
        ("{name: breast.csv}", r"{name: csv, path: breast.csv, label: COLUMN}"),
        ("{name: data/mine.npz}", r"{name: npz, path: data/mine.npz}"),
        ("{name: table.xlsx}", "a function `module:function`"),
    ],
)
def test_a_file_in_place_of_a_name_is_told_how_it_is_written(given, remedy):
    with pytest.raises(SpaceError, match=remedy):
        parse_space(SMALL.replace(DIGITS, given), "small.yaml")


def test_a_column_with_a_range_is_scaled_by_it_and_the_others_by_the_pool(table, tmp_path):
    table.to_csv(tmp_path / "a.csv", index=False)
    plain = read(tmp_path / "a.csv")
    stated = read(tmp_path / "a.csv", ranges={"mean radius": [10, 30], "mean area": [0, 5000]})
    rows, names = stated.members.indices, list(stated.scaling.names)
    expected = plain.members.pixels().copy()
    expected[:, names.index("mean radius")] = (table["mean radius"][rows] - 10).clip(0) / 20
    expected[:, names.index("mean area")] = table["mean area"][rows] / 5000
    assert np.allclose(stated.members.pixels(), expected, atol=1e-6)
    n_below = (table["mean radius"] < 10).sum()
    assert any(f"'mean radius': {n_below} values lie outside" in note for note in stated.notes)


def test_a_range_is_part_of_a_configuration_only_where_it_is_stated(table, tmp_path):
    table.to_csv(tmp_path / "a.csv", index=False)
    spec = {"name": "csv", "path": str(tmp_path / "a.csv"), "label": "diagnosis"}
    assert "ranges" not in Dataset.parse(spec).settings  # trials of earlier records keep their ids
    ranged = Dataset.parse({**spec, "ranges": {"mean area": [0, 5000]}})
    assert Dataset.parse(json.loads(json.dumps(to_plain(ranged.settings)))) == ranged


@pytest.mark.parametrize("ends", [[5, 1], [0, float("inf")], [1], "a"])
def test_a_range_that_is_none_is_refused(tmp_path, ends):
    with pytest.raises(
        SpaceError, match="two finite numbers|too few values|must be a list"
    ) as caught:
        read(tmp_path / "a.csv", ranges={"mean area": ends})
    assert "mean area" in str(caught.value) or "mean area" in str(caught.value.place)


def test_a_summary_tells_rows_features_groups_and_sizes_and_identifiers_are_noted(table, tmp_path):
    table.insert(0, "patient_id", np.arange(len(table)) + 10_000)
    table["visit"] = np.arange(len(table)) % 3
    table.to_csv(tmp_path / "a.csv", index=False)
    splits = read(tmp_path / "a.csv", members=170, nonmembers=57, pool=228, validation=57)
    assert (
        "a.csv): 569 rows, 32 features (patient_id, mean radius, mean texture, " in splits.summary
    )
    assert splits.summary.endswith(
        "no groups; dealt 170 members, 57 nonmembers, 228 pool, 57 validation, 56 test; "
        "1 in no split"
    )
    about = [note for note in splits.notes if "an identifier?" in note]
    assert [note.split("): ")[1] for note in about] == [
        "patient_id: 569 different whole numbers in 569 rows: an identifier? "
        "name it in `group` or `leave_out`"
    ]

    table["patient_id"] //= 3
    table.to_csv(tmp_path / "b.csv", index=False)
    assert any("patient_id: 190 different" in note for note in read(tmp_path / "b.csv").notes)
    grouped = read(tmp_path / "b.csv", group="patient_id")
    assert "31 features (mean radius" in grouped.summary
    assert "190 groups; dealt" in grouped.summary
    assert any(
        "is that of a person's records together, here at most " in note for note in grouped.notes
    )
    assert not any("an identifier?" in note for note in grouped.notes)


def test_a_row_number_in_an_array_is_noted_too(table, tmp_path):
    rows = np.column_stack([np.arange(len(table)), table.drop(columns="diagnosis")])
    labels = (table["diagnosis"] == "malignant").astype(int)
    np.savez(tmp_path / "a.npz", features=rows, labels=labels)
    notes = data.load({"name": "npz", "path": str(tmp_path / "a.npz")}, seed=0).notes
    assert any("feature 0: 569 different whole numbers" in note for note in notes)
    assert sum("an identifier?" in note for note in notes) == 1
