"""Users' own data are read right, or refused with the file and the rule."""

import os
import pickle
import sys
import types

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from raysweep import data
from raysweep.data.examples import to_raw_data
from raysweep.errors import DataError, SpaceError

HALF = {"members": 0.5, "nonmembers": 0.1, "pool": 0.2, "validation": 0.2, "test": 0}


def read(path, **settings):
    """Return the splits of an .npz file."""
    return data.load({"name": "npz", "path": str(path), **settings}, seed=0)


@pytest.fixture
def save(tmp_path):
    """Return a function that writes an .npz and returns its path."""

    def write(features=None, labels=None, n=200, **others):
        features = np.random.default_rng(0).random((n, 5)) if features is None else features
        labels = np.arange(len(features)) % 2 if labels is None else labels
        np.savez(tmp_path / "mine.npz", features=features, labels=labels, **others)
        return tmp_path / "mine.npz"

    return write


# Labels and groups


@pytest.mark.parametrize("kind", [float, np.float32, bool, np.uint8, ">i4"])
def test_whole_numbers_are_labels_whatever_their_type(save, kind):
    splits = read(save(labels=(np.arange(200) % 2).astype(kind)))
    assert splits.members.labels.dtype == np.int64
    assert set(splits.members.labels.tolist()) == {0, 1}


def test_labels_may_stand_in_a_table_of_one_column(save):
    labels = np.arange(200) % 2
    plain = read(save(labels=labels))
    assert read(save(labels=labels[:, None])).hash == plain.hash


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.where(np.arange(200) == 3, np.nan, 1.0),
            r"mine\.npz\).*whole numbers.*got nan in row 3",
        ),
        (np.where(np.arange(200) == 3, 0.5, 1.0), "whole numbers from 0, got 0.5 in row 3"),
        (np.array(["a", "b"] * 100), r"whole numbers from 0, got <U1 .*'a'.*return_inverse"),
        (np.eye(2)[np.arange(200) % 2], r"of shape \(200, 2\); of one-hot rows take labels.argmax"),
        (np.where(np.arange(200) % 2, -1, 1), "must start at 0, got -1; number the classes"),
        (np.where(np.arange(200) % 2, 10**12, 0), "class 1 has no example"),
        (np.where(np.arange(200) % 2, 2**63 + 9, 0).astype(np.uint64), "class 1 has no example"),
    ],
)
def test_other_labels_are_refused_with_the_file_and_the_rule(save, labels, message):
    with pytest.raises(DataError, match=message):
        read(save(labels=labels))


def test_groups_of_an_npz_are_kept_together(save):
    groups = np.arange(200) // 4
    splits = read(save(groups=groups, x_test=np.zeros(3)), **HALF)
    seen = [set(groups[getattr(splits, name).indices]) for name in HALF]
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert any("arrays left out: x_test" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            np.where(np.arange(200) == 7, np.nan, 1.0),
            "1 example has no group, the first in row 7",
        ),
        (np.array(["", *"ab" * 99, "c"]), "1 example has no group, the first in row 0"),
        (np.array(["a", "nan"] * 100), "100 examples have no group, the first in row 1"),
        (np.zeros(199), r"groups must pair with labels, got \(199,\)"),
    ],
)
def test_examples_without_a_group_are_refused(save, groups, message):
    with pytest.raises(DataError, match=message):
        read(save(groups=groups))


def test_sizes_that_groups_change_are_told(save):
    path, sizes = save(groups=np.arange(200) // 20), {**HALF, "validation": 0.05}
    splits = read(path, **sizes)
    assert splits.sizes["validation"] == 20
    assert any("groups are dealt whole: validation 20, not 10" in note for note in splits.notes)


# Files


def test_a_path_may_begin_with_the_users_home(save, monkeypatch):
    path = save()
    monkeypatch.setenv("HOME", str(path.parent))
    assert read("~/mine.npz").hash == read(path).hash


def test_a_missing_file_is_named_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=f"there is no file {tmp_path}/none.npz; check dataset.path"
    ):
        read("none.npz")
    with pytest.raises(DataError, match=f"there is a folder, not a file {tmp_path}"):
        read(".")
    with pytest.raises(DataError, match=f"there is no folder {tmp_path}/none"):
        data.load({"name": "image_folder", "path": "none"}, seed=0)


def test_files_that_are_no_npz_are_told_apart(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((9, 3)))
    with pytest.raises(DataError, match=r"one\.npy is not a whole .npz file \(it holds one array"):
        read(tmp_path / "one.npy")
    (tmp_path / "a.npz").write_bytes(pickle.dumps(3))
    with pytest.raises(DataError, match=r"a\.npz is not a whole .npz file .*numpy\.savez"):
        read(tmp_path / "a.npz")


def test_an_array_of_objects_is_named(save):
    with pytest.raises(DataError, match="`labels` is an array of Python objects"):
        read(save(labels=np.array([0, 1] * 100, object)))


# Numbers


def timestamps(kind):
    """Return seconds since 1970 within one minute beside noise, and whether they are late."""
    rng = np.random.default_rng(0)
    seconds = np.sort(rng.uniform(0, 60, 300))
    times = (1.7e9 + seconds) if kind is float else (1_700_000_000_000_000_000 + seconds * 1e9)
    return np.column_stack([times, rng.integers(0, 9, 300)]).astype(kind), (seconds > 30).astype(
        int
    )


def test_timestamps_keep_their_differences(save):
    features, labels = timestamps(float)
    times = read(save(features, labels), **HALF).pool.features[:, 0]
    assert len(np.unique(times)) == len(times)


def test_nanoseconds_keep_their_differences(save):
    base = np.int64(1_700_000_000_000_000_000)
    features = base + np.arange(300, dtype=np.int64)[:, None]
    times = read(save(features, np.arange(300) % 2), **HALF).pool.features[:, 0]
    assert len(np.unique(times)) == len(times)


@pytest.mark.parametrize("range_", [[0, 2e9], [0, 1]])
def test_a_range_in_which_values_are_lost_is_refused(save, range_):
    features, labels = timestamps(float)
    with pytest.raises(
        DataError, match=r"mine\.npz\): feature 0 has 300 values in 300 rows and \d+"
    ):
        read(save(features, labels), **HALF, range=range_)


def test_values_between_0_and_1_that_float32_cannot_tell_apart_are_refused(save):
    features = 0.5 + np.arange(200)[:, None] * 1e-11
    with pytest.raises(DataError, match="feature 0 has 200 values in 200 rows and 1 after scaling"):
        read(save(features))


def test_values_outside_a_stated_range_are_counted(save):
    features = np.random.default_rng(0).random((200, 5)) * 10
    features[0] = 11
    splits = read(save(features), range=[0, 10])
    assert any(
        "5 values lie outside [0, 10] and will be clipped, of 1,000" in note
        for note in splits.notes
    )


@pytest.mark.parametrize("range_", [[1, 0], [0, 0], [0, float("inf")], [float("nan"), 1]])
def test_a_range_that_is_none_is_refused(save, range_):
    with pytest.raises(SpaceError, match="`range` must be two finite numbers, the lower first"):
        read(save(), range=range_)


def test_the_column_of_a_missing_value_is_named():
    table = pd.DataFrame({"age": [1.0, 2.0], "weight": [3.0, np.nan]})
    raw = to_raw_data(table, [0, 1])
    assert raw.names == ("age", "weight")
    with pytest.raises(DataError, match="no numbers are in sex"):
        to_raw_data(table.assign(sex=["f", "m"]), [0, 1])


def test_a_value_that_is_not_finite_is_placed(save):
    features = np.random.default_rng(0).random((200, 5))
    features[[7, 9], 3] = np.inf
    with pytest.raises(DataError, match="2 values that are not finite .* row 7, feature 3"):
        read(save(features), range=[0, 1])


# Images as arrays


def test_bits_are_the_same_as_bytes_and_as_bool(save):
    digits = load_digits()
    bits = digits.images > 8
    pixels = [
        read(save(images, digits.target), **HALF).members.pixels()
        for images in (bits, bits.astype(np.uint8), bits.astype(np.uint8) * 255)
    ]
    assert np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels[0], pixels[2])
    assert pixels[0].max() == 1


def test_bytes_of_sixteen_shades_need_a_range(save):
    digits = load_digits()
    path = save(digits.images.astype(np.uint8), digits.target)
    with pytest.raises(DataError, match=r"largest byte here is 16; .*state `range: \[0, 16\]`"):
        read(path)
    assert read(path, range=[0, 16]).pool.pixels().max() == 1


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((8, 8, 1), 1),
        ((8, 8, 2), 2),
        ((8, 8, 3), 3),
        ((8, 8, 4), 4),
        ((16, 16, 12), 12),
        ((9, 7, 4), 4),
        ((3, 8, 8), 3),
        ((2, 8, 8), 2),
        ((8, 4, 4), 8),
        ((4, 9, 7), 4),
        ((8, 8, 8), 8),
    ],
)
def test_the_axis_of_the_channels_is_recognised(shape, channels):
    images = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.uint8)
    read_images = to_raw_data(images, [0, 1, 0, 1]).features
    assert read_images.shape[1] == channels
    if shape[0] != channels:
        assert np.array_equal(read_images, images.transpose(0, 3, 1, 2))


# Folders of images


@pytest.fixture
def folder(tmp_path):
    """Return a folder with 20 grey images of 8x8 in each of two classes."""
    shades = np.random.default_rng(0).integers(0, 256, (2, 20, 8, 8)).astype(np.uint8)
    for label, images in zip(("cat", "dog"), shades, strict=True):
        (tmp_path / label).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / label / f"{number:02}.png")
    return tmp_path


def read_folder(path):
    return data.load({"name": "image_folder", "path": str(path)}, seed=0)


def noted(splits, *parts):
    return any(all(part in note for part in parts) for note in splits.notes)


def test_hidden_and_system_files_are_left_out_and_counted(folder):
    plain = read_folder(folder)
    (note,) = plain.notes
    assert note.endswith("classes: 0 = cat, 1 = dog")
    (folder / ".ipynb_checkpoints").mkdir()
    Image.new("L", (8, 8)).save(folder / ".ipynb_checkpoints" / "00.png")
    (folder / "__MACOSX").mkdir()
    (folder / "@eaDir").mkdir()
    Image.new("L", (8, 8)).save(folder / "@eaDir" / "00.png")
    (folder / "cat" / "._00.png").write_bytes(b"resource fork")
    (folder / "cat" / "Thumbs.db").write_bytes(b"")
    (folder / "dog" / ".DS_Store").write_bytes(b"")
    splits = read_folder(folder)
    assert splits.hash == plain.hash
    assert np.array_equal(splits.members.features, plain.members.features)
    assert noted(splits, str(folder), "hidden or system files left out: 6", "@eaDir")


def test_files_that_are_no_images_are_left_out_and_counted(folder):
    (folder / "labels.csv").write_text("a,b")
    (folder / "cat" / "README.txt").write_text("about cats")
    (folder / "cat" / "notes").mkdir()
    splits = read_folder(folder)
    assert noted(splits, "files in no class folder left out: 1 (labels.csv)")
    assert noted(splits, "files that are no images left out: 1 (cat/README.txt)")
    assert noted(splits, "folders without images left out: 1 (cat/notes)")


@pytest.mark.parametrize("suffix", [".jfif", ".gif", "", ".dat"])
def test_images_under_any_name_are_read(folder, suffix):
    kind = "GIF" if suffix == ".gif" else "JPEG"
    for path in list((folder / "cat").iterdir())[:10]:
        image = Image.open(path)
        image.load()
        path.unlink()
        image.save(path.with_suffix(suffix), format=kind)
    splits = read_folder(folder)
    assert sum(splits.sizes.values()) == 40
    assert not noted(splits, "left out")


@pytest.mark.parametrize("name", ["scan.dcm", "photo.heic", "drawing.svg", "torn.jpg"])
def test_images_that_cannot_be_read_are_refused_by_name(folder, name):
    (folder / "cat" / name).write_bytes(b"of another format")
    with pytest.raises(DataError, match=rf"cat/{name} cannot be read as an image"):
        read_folder(folder)


def test_a_pipe_among_images_is_refused_and_not_opened(folder):
    os.mkfifo(folder / "cat" / "p.png")
    with pytest.raises(DataError, match=r"cat/p.png is not a file; remove it"):
        read_folder(folder)


def test_images_in_deeper_folders_are_refused_by_name(folder):
    (folder / "cat" / "more").mkdir()
    (folder / "cat" / "00.png").rename(folder / "cat" / "more" / "00.png")
    message = r"must lie directly in their class folder, and .*cat holds .*: .*more"
    with pytest.raises(DataError, match=message):
        read_folder(folder)
    train = folder / "all"
    train.mkdir()
    for name in ("cat", "dog"):
        (folder / name).rename(train / name)
    with pytest.raises(
        DataError, match=r"if the folders in .*all are the classes, give it as datas"
    ):
        read_folder(folder)


def test_grey_images_among_coloured_ones_become_coloured(folder):
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "cat" / "00.png")
    splits = read_folder(folder)
    assert splits.members.shape == (3, 8, 8)
    assert noted(splits, "grey images among coloured ones read as coloured: 39")


def test_sixteen_bits_and_transparency_are_told(folder):
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(folder / "cat" / "00.png")
    Image.new("LA", (8, 8), (9, 255)).save(folder / "cat" / "01.png")
    Image.new("LA", (8, 8), (9, 100)).save(folder / "cat" / "02.png")
    splits = read_folder(folder)
    assert noted(splits, "images of 16 bits read with 8 bits: 1 (cat/00.png)")
    assert noted(splits, "images whose transparency was left out: 1 (cat/02.png)")


def test_sixteen_bits_of_which_twelve_are_used_are_refused(folder):
    for path in folder.glob("*/*.png"):
        Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"largest byte here is 15"):
        read_folder(folder)


def test_animations_and_bombs_are_refused_by_name(folder, monkeypatch):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(folder / "cat" / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.gif cannot be read .* holds 2 pictures"):
        read_folder(folder)
    (folder / "cat" / "a.gif").unlink()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)
    with pytest.raises(DataError, match=r"00\.png cannot be read as an image .*bomb"):
        read_folder(folder)


def test_bits_among_shades_are_refused(save):
    images = np.random.default_rng(0).integers(0, 2, (200, 8, 8)).astype(np.uint8)
    images[7] *= 255
    with pytest.raises(DataError, match="199 of 200 images hold the bytes 0 and 1 .* is 255"):
        read(save(features=images))


@pytest.mark.filterwarnings("error")
def test_features_near_the_largest_number_are_scaled_without_a_word(save):
    features = np.random.default_rng(0).random((200, 3)) * 1e300
    features[:, 2] = 0
    features[0, 2] = 1e300
    read(save(features=features), **HALF)


def test_a_folder_of_bits_is_read_as_bits(folder):
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        Image.fromarray(np.full((8, 8), number % 2, np.uint8)).save(path)
    assert read_folder(folder).members.pixels().max() == 1


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (
            np.ma.masked_greater(np.eye(20), 0.5),
            np.arange(20) % 2,
            "features have 20 masked values",
        ),
        (np.eye(20), np.ma.masked_less(np.arange(20) % 2, 1), "labels have 10 masked values"),
        (
            torch.eye(20, requires_grad=True),
            np.arange(20) % 2,
            "features cannot be read as an array",
        ),
        ([[1.0], [1.0, 2.0]] * 10, np.arange(20) % 2, "features differ in size"),
        (np.empty((0, 3)), np.empty(0, int), "has no examples"),
        (
            np.empty((20, 0)),
            np.arange(20) % 2,
            r"a value for each example, got shape \(20, 0\)",
        ),
        (
            pd.DataFrame({"a": np.zeros(20), "t": 10**17 + np.arange(20)}),
            np.arange(20) % 2,
            "column 't' has 20 whole numbers, and 2 in double precision",
        ),
        (np.eye(20), -(np.arange(20) % 2), "labels must start at 0, got -1"),
    ],
)
def test_what_no_model_can_learn_from_is_refused(monkeypatch, features, labels, message):
    module = types.ModuleType("their_arrays")
    module.made = lambda: (features, labels)
    monkeypatch.setitem(sys.modules, "their_arrays", module)
    with pytest.raises(DataError, match=f"their_arrays:made.*{message}"):
        data.load({"name": "their_arrays:made"}, seed=0)


def test_features_with_one_value_are_counted_and_named(save):
    x = np.random.default_rng(0).random((200, 5))
    x[:, [1, 3]] = 7.0
    assert noted(read(save(x)), "2 of 5 features have one value in all rows (feature 1, feature 3)")
    assert not noted(read(save(x[:, ::2])), "one value")
    assert noted(read(save(np.ones((200, 5)))), "all examples are equal")
