"""Subgroups: a column of a user's data by which figures are told apart."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysweep import data
from raysweep.data import Dataset
from raysweep.data.labels import check_groups, check_subgroups
from raysweep.errors import DataError

N = 200
BANDS = np.array(["young", "old", "unknown"])[np.arange(N) % 7 % 3]


def features():
    return np.random.default_rng(0).random((N, 4))


@pytest.fixture
def npz(tmp_path):
    """Return a function that writes an .npz with these subgroups, and its settings."""

    def write(subgroups):
        path = tmp_path / "data.npz"
        labels = np.arange(N) % 2
        np.savez(path, features=features(), labels=labels, subgroups=subgroups)
        return {"name": "npz", "path": str(path)}

    return write


@pytest.fixture
def table(tmp_path):
    lines = [
        f"{','.join(map(str, row))},{'yes' if i % 2 else 'no'},{BANDS[i]}"
        for i, row in enumerate(features())
    ]
    path = tmp_path / "patients.csv"
    path.write_text("\n".join(["a,b,c,d,ill,band", *lines]))
    return {"name": "csv", "path": str(path), "label": "ill", "subgroup": "band"}


def named(splits, split):
    return np.array(splits.subgroups.names)[splits.subgroups.of(split)]


def test_a_column_of_a_table_names_the_subgroups_and_is_no_feature(table):
    splits = data.load(table, seed=0)
    assert splits.subgroups.names == ("old", "unknown", "young")
    assert splits.members.shape == (4,)
    for split in (splits.members, splits.pool, splits.validation):
        assert np.array_equal(named(splits, split), BANDS[split.indices])


def test_an_npz_and_a_function_name_them_too(npz, tmp_path, monkeypatch):
    (tmp_path / "banded.py").write_text(
        "import numpy as np\n"
        "def f(groups=False):\n"
        "    x = np.random.default_rng(0).random((200, 4))\n"
        "    persons = np.arange(200) // 2 if groups else None\n"
        "    return x, np.arange(200) // 2 % 2, persons, np.arange(200) % 4\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert data.load(npz(BANDS), seed=0).subgroups.names == ("old", "unknown", "young")
    for groups in (False, True):
        splits = data.load({"name": "banded:f", "groups": groups}, seed=0)
        assert splits.subgroups.names == ("0", "1", "2", "3")
        assert splits.group_records == (2 if groups else None)
    sys.modules.pop("banded")


def test_how_many_members_each_subgroup_has_is_told(table):
    splits = data.load(table, seed=0)
    counts = [
        f"{name} {(named(splits, splits.members) == name).sum()}" for name in np.unique(BANDS)
    ]
    assert any(f"subgroups of the members: {', '.join(counts)}" in note for note in splits.notes)


def test_names_of_subgroups_belong_to_the_data_and_are_told_without_escape_sequences(npz):
    renamed = np.where(BANDS == "old", "\x1b[31mold\n", BANDS)
    before, after = data.load(npz(BANDS), seed=0), data.load(npz(renamed), seed=0)
    assert before.data_hash != after.data_hash
    assert any("?[31mold" in note for note in after.notes)
    assert all(note.isprintable() for note in after.notes)


def test_subgroups_change_neither_the_deal_nor_the_names_of_earlier_trials(table, npz):
    plain = {key: value for key, value in table.items() if key != "subgroup"}
    without = data.load({**plain, "leave_out": ["band"]}, seed=0)
    assert data.load(table, seed=0).hash == without.hash
    assert "subgroup" not in Dataset.parse(plain).settings
    assert without.data_hash != data.load(table, seed=0).data_hash
    assert data.load(npz(BANDS), seed=0).data_hash != data.load(npz(BANDS[::-1]), seed=0).data_hash


@pytest.mark.parametrize(
    ("subgroups", "rule"),
    [
        (BANDS[:-1], r"subgroups must pair with labels, got \(199,\) and \(200,\)"),
        (np.append(BANDS[:-1], "alone"), "subgroup alone has a single example"),
        (
            np.append(np.arange(N - 1) % 2, np.nan),
            "1 example has no subgroup, the first in row 199",
        ),
        (np.arange(N) % 101, "at most 100 subgroups, got 101"),
        (np.stack([BANDS, BANDS]).T, "must pair with labels.*one subgroup for each example"),
    ],
)
def test_bad_subgroups_are_refused_by_name(npz, subgroups, rule):
    with pytest.raises(DataError, match=rule):
        data.load(npz(subgroups), seed=0)


MISSING = {
    "a text": np.array(["a", None] * (N // 2), dtype=object),
    "a number": np.append(np.arange(N - 1) % 2, np.nan),
    "a text of pandas": pd.Series(["a", pd.NA] * (N // 2), dtype="string"),
    "a whole number of pandas": pd.Series([1, pd.NA] * (N // 2), dtype="Int64"),
    "a category": pd.Series(["a", None] * (N // 2)).astype("category"),
    "a text as NaN": np.array(["a", np.nan] * (N // 2), dtype=object),
}


@pytest.mark.parametrize("check", [check_groups, check_subgroups])
@pytest.mark.parametrize("values", MISSING.values(), ids=MISSING)
def test_a_missing_value_is_refused_in_whatever_form_it_comes(check, values):
    with pytest.raises(DataError, match=r"no (sub)?group, the first in row (1|199);"):
        check(values, N, "mine")


def test_a_missing_cell_of_a_table_is_no_subgroup_called_nan(table):
    lines = Path(table["path"]).read_text().splitlines()
    for row in (5, 9):
        lines[row] = lines[row].rpartition(",")[0] + ","
    Path(table["path"]).write_text("\n".join(lines))
    with pytest.raises(DataError, match="2 examples have no subgroup, the first in row 4"):
        data.load(table, seed=0)


def test_a_column_that_is_not_there_is_refused_with_those_that_are(table):
    with pytest.raises(DataError, match="no column 'bands'; did you mean 'band'"):
        data.load({**table, "subgroup": "bands"}, seed=0)
