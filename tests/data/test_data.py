import gzip
import pickle

import numpy as np
import pytest
from face_files import write_faces
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raysweep import data
from raysweep.data.deal import share_table
from raysweep.data.published import FASHION_MNIST
from raysweep.data.sources import SOURCES
from raysweep.errors import DataError, SpaceError

SIX = ("members", "nonmembers", "pool", "reference", "validation", "test")


def write_npz(path, n=60, *, labels=None, features=None, **extra):
    rng = np.random.default_rng(0)
    features = rng.random((n, 5)) if features is None else features
    labels = np.arange(n) % 3 if labels is None else labels
    np.savez(path, features=features, labels=labels, **extra)
    return {"name": "npz", "path": str(path)}


@settings(deadline=None)
@given(
    st.lists(st.integers(6, 60), min_size=2, max_size=6),
    st.lists(st.floats(0.02, 0.15), min_size=6, max_size=6),
    st.integers(0, 5),
)
def test_every_class_of_every_split_is_within_one_example_of_its_share(classes, parts, seed):
    total = sum(classes)
    sizes = [max(1, int(total * part)) for part in parts]
    table = share_table(classes, sizes, np.random.default_rng(seed))
    share = np.outer(sizes, classes) / total
    assert np.all(np.abs(table - share) < 1)
    assert table.sum(axis=1).tolist() == sizes
    assert np.all(table.sum(axis=0) <= classes)


def test_splits_are_disjoint_and_as_large_as_asked(splits):
    assert list(splits.sizes.values()) == [120, 60, 200, 0, 100, 100]
    together = np.concatenate([getattr(splits, name).indices for name in SIX])
    assert len(set(together.tolist())) == len(together)


def test_the_same_seed_deals_the_same_and_another_does_not():
    spec = {"name": "digits"}
    first = data.load(spec, seed=0).hash
    other = data.load(spec, seed=1).hash
    assert data.load(spec, seed=0).hash == first != other


def test_digits_are_scaled_to_0_to_1(splits):
    pixels = splits.members.pixels()
    assert pixels.shape == (120, 1, 8, 8)
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)


def test_sizes_that_do_not_fit_name_the_number_of_examples():
    with pytest.raises(DataError, match=r"need 2,000 examples, and the data set has 1,797"):
        data.load({"name": "digits", "members": 1700, "pool": 300}, seed=0)


def test_a_size_between_whole_and_fraction_is_refused():
    for size in (10.5, 1.0):
        with pytest.raises(SpaceError, match=r"a whole number of examples or a share below 1") as e:
            data.load({"name": "digits", "members": size}, seed=0)
        assert e.value.place == ("members",)


def write_idx(path, array, compress):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    raw = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if compress else raw)


@pytest.mark.parametrize(("folder", "suffix"), [("mnist", ".gz"), ("MNIST/raw", "")])
def test_idx_files_are_read_plain_or_compressed(tmp_path, monkeypatch, folder, suffix):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    where = tmp_path / folder
    where.mkdir(parents=True)
    for part, n in (("train", 40), ("t10k", 20)):
        images = np.arange(n * 9).reshape(n, 3, 3) % 256
        write_idx(where / f"{part}-images-idx3-ubyte{suffix}", images, bool(suffix))
        write_idx(where / f"{part}-labels-idx1-ubyte{suffix}", np.arange(n) % 2, bool(suffix))
    splits = data.load({"name": "mnist"}, seed=0)
    assert splits.members.shape == (1, 3, 3)
    assert splits.members.features.dtype == np.uint8
    assert splits.members.n_classes == 2


def test_a_damaged_idx_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "mnist" / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x03\x00")
    with pytest.raises(DataError, match="train-images-idx3-ubyte is not a whole idx file"):
        data.load({"name": "mnist"}, seed=0)


def test_the_fashion_mnist_of_the_system_is_complete():
    if FASHION_MNIST.find() is None:
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    splits = data.load({"name": "fashion_mnist"}, seed=0)
    assert splits.sizes["members"] == 21_000
    assert np.bincount(splits.members.labels).tolist() == [2100] * 10


@pytest.mark.parametrize(
    ("name", "label", "n_files"), [("cifar10", b"labels", 6), ("cifar100", b"fine_labels", 2)]
)
def test_cifar_batches_are_read_without_running_their_pickle(
    tmp_path, monkeypatch, name, label, n_files
):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    (tmp_path / name).mkdir()
    files = {"cifar10": [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]}
    for file in files.get(name, ["train", "test"]):
        batch = {b"data": np.full((20, 3072), 7, np.uint8), label: [0, 1] * 10}
        (tmp_path / name / file).write_bytes(pickle.dumps(batch))
    splits = data.load({"name": name}, seed=0)
    assert splits.members.shape == (3, 32, 32)
    assert sum(splits.sizes.values()) == 20 * n_files
    separate = data.load({"name": name, "split": "published"}, seed=0)
    assert (separate.sizes["members"], separate.sizes["validation"]) == (20 * (n_files - 1), 20)


class Bomb:
    def __reduce__(self):
        return print, ("boom",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    (tmp_path / "cifar100").mkdir()
    for file in ("train", "test"):
        (tmp_path / "cifar100" / file).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="is not a CIFAR batch"):
        data.load({"name": "cifar100"}, seed=0)
    assert capsys.readouterr().out == ""


def test_missing_data_name_the_folders_that_were_searched_and_three_remedies(tmp_path, monkeypatch):
    for name in ("RAYSWEEP_DATA", "XDG_CACHE_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("raysweep.data.published._download", lambda name: False)
    with pytest.raises(DataError) as error:
        data.load({"name": "cifar10"}, seed=0)
    message = str(error.value)
    assert str(tmp_path) in message
    assert all(way in message for way in ("(1)", "(2)", "(3)", "RAYSWEEP_DATA"))


def test_an_image_folder_is_read_by_its_class_folders(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(20):
            Image.new("RGB", (6, 5), (10 * i, 0, 0)).save(tmp_path / label / f"{i}.png")
    splits = data.load({"name": "image_folder", "path": str(tmp_path)}, seed=0)
    assert splits.members.shape == (3, 5, 6)
    assert np.bincount(splits.members.labels).tolist() == [6, 6]


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "bad.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"bad\.png cannot be read as an image"):
        data.load({"name": "image_folder", "path": str(tmp_path)}, seed=0)


def test_sixteen_bit_images_keep_their_shades(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
        for i in range(20):
            Image.fromarray(ramp).save(tmp_path / label / f"{i}.png")
    pixels = data.load({"name": "image_folder", "path": str(tmp_path)}, seed=0).members.pixels()
    np.testing.assert_allclose(pixels[0].ravel(), np.linspace(0, 1, 64), atol=0.01)


def test_images_of_two_sizes_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    for i in (4, 5):
        Image.new("L", (i, i)).save(tmp_path / "cat" / f"{i}.png")
    with pytest.raises(DataError, match="images differ in size"):
        data.load({"name": "image_folder", "path": str(tmp_path)}, seed=0)


def test_an_empty_class_folder_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="class folder .*cat is empty"):
        data.load({"name": "image_folder", "path": str(tmp_path)}, seed=0)


def test_flat_features_are_scaled_by_a_stated_range(tmp_path):
    spec = write_npz(tmp_path / "a.npz", features=np.full((60, 5), 15.0))
    splits = data.load({**spec, "range": [10, 20]}, seed=0)
    assert np.all(splits.members.pixels() == 0.5)


def test_features_without_a_range_are_scaled_by_the_pool(tmp_path):
    features = np.random.default_rng(0).normal(100, 50, (60, 5))
    splits = data.load(write_npz(tmp_path / "a.npz", features=features), seed=0)
    pool = splits.pool.pixels()
    assert (pool.min(axis=0), pool.max(axis=0)) == (pytest.approx(0), pytest.approx(1))
    assert 0 <= splits.members.pixels().min() <= splits.members.pixels().max() <= 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.linspace(0, 1, 60), "whole numbers"),
        (np.where(np.arange(60) % 2, 2, 0), "class 1 has no example"),
        (np.arange(60) - 3, "must start at 0"),
        (np.zeros(60, int), "one class only"),
        (np.zeros(59, int), "must be equal"),
    ],
)
def test_labels_that_break_a_rule_are_refused(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        data.load(write_npz(tmp_path / "a.npz", labels=labels), seed=0)


@pytest.mark.parametrize(
    ("features", "remedy"),
    [
        (np.zeros(60), r"got float64 of shape \(60,\).*features.reshape\(-1, 1\)"),
        (np.full((60, 4), 1j), "got complex128 .*turn what is no number into numbers"),
        (np.full((60, 4), "2020-01-01", "datetime64[D]"), r"got datetime64\[D\].*into numbers"),
        (np.full((60, 4), "red"), "got <U3 .*turn what is no number into numbers"),
    ],
)
def test_features_that_are_no_table_of_numbers_are_refused_with_a_remedy(
    tmp_path, features, remedy
):
    with pytest.raises(DataError, match=remedy):
        data.load(write_npz(tmp_path / "a.npz", features=features), seed=0)


def test_features_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(DataError, match="not finite"):
        data.load(write_npz(tmp_path / "a.npz", features=np.full((60, 5), np.nan)), seed=0)


def test_an_npz_that_is_damaged_or_lacks_an_array_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(DataError, match=r"has no \['features', 'labels'\]; it holds x"):
        data.load({"name": "npz", "path": str(tmp_path / "a.npz")}, seed=0)
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04torn")
    with pytest.raises(DataError, match="is not a whole .npz file"):
        data.load({"name": "npz", "path": str(tmp_path / "b.npz")}, seed=0)


USER = """
import numpy as np
def people(n=80):
    rng = np.random.default_rng(0)
    return rng.random((n, 4)), np.arange(n) % 2, np.arange(n) // 4
def wrong():
    return 3
def broken():
    raise RuntimeError("no disk")
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "their_data.py").write_text(USER)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_all_examples_of_a_group_are_in_one_split(user_module):
    splits = data.load({"name": "their_data:people", "n": 80}, seed=0)
    groups = [set((getattr(splits, name).indices // 4).tolist()) for name in SIX]
    assert sum(len(g) for g in groups) == len(set().union(*groups))
    assert all(len(getattr(splits, n)) for n in ("members", "nonmembers", "pool", "validation"))


@pytest.mark.parametrize(
    ("function", "message"), [("wrong", "must return"), ("broken", "raised RuntimeError: no disk")]
)
def test_a_user_function_that_breaks_a_rule_is_named(user_module, function, message):
    with pytest.raises(DataError, match=message):
        data.load({"name": f"their_data:{function}"}, seed=0)


def test_every_source_is_described_in_one_line():
    assert all(
        source.__doc__.splitlines()[0].endswith((".", ";", ":", "size.", "``labels``."))
        for source in SOURCES.values()
    )


def test_faces_are_labelled_by_person_and_seven_of_ten_are_published(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    write_faces(tmp_path)
    splits = data.load({"name": "orl_faces", "split": "published"}, seed=0)
    assert splits.sizes == {
        **dict.fromkeys(("pool", "reference", "test"), 0),
        "members": 280,
        "nonmembers": 120,
        "validation": 120,
    }
    assert splits.members.shape == (1, 6, 5)
    assert np.array_equal(splits.members.features[:, 0, 0, 0], splits.members.labels + 1)
    assert (splits.members.indices % 10 < 7).all()
    assert (splits.validation.indices % 10 >= 7).all()
    assert splits.kind == "published, validation as nonmembers"


def test_faces_of_two_sizes_or_without_a_number_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    write_faces(tmp_path)
    odd = tmp_path / "orl_faces" / "s7" / "3.pgm"
    Image.new("L", (9, 9)).save(odd)
    with pytest.raises(DataError, match=r"orl_faces: images differ in size: .*s7/3\.pgm"):
        data.load({"name": "orl_faces"}, seed=0)
    odd.rename(odd.with_name("me.pgm"))
    with pytest.raises(DataError, match=r"me\.pgm is not named by a number"):
        data.load({"name": "orl_faces"}, seed=0)


def test_a_person_with_a_single_face_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    write_faces(tmp_path)
    for face in (tmp_path / "orl_faces" / "s7").glob("*.pgm"):
        if face.stem != "1":
            face.unlink()
    with pytest.raises(DataError, match=r"orl_faces: class folder .*s7 has a single image"):
        data.load({"name": "orl_faces"}, seed=0)


def test_a_class_with_a_single_example_is_refused(tmp_path):
    labels = np.where(np.arange(60) == 0, 2, np.arange(60) % 2)
    with pytest.raises(DataError, match="class 2 has a single example"):
        data.load(write_npz(tmp_path / "a.npz", labels=labels), seed=0)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """An idx data set of 40 training and 20 test examples."""
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for part, n in (("train", 40), ("t10k", 20)):
        images = np.arange(n * 9).reshape(n, 3, 3) % 256
        write_idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte", images, False)
        write_idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte", np.arange(n) % 2, False)
    return {"name": "mnist", "split": "published"}


def test_a_published_split_keeps_the_training_set_and_the_test_set_apart(published):
    splits = data.load({**published, "pool": 10, "nonmembers": 8}, seed=0)
    sizes = {
        "members": 30,
        "nonmembers": 8,
        "pool": 10,
        "reference": 0,
        "validation": 12,
        "test": 0,
    }
    assert splits.sizes == sizes
    for name in SIX:
        is_training = getattr(splits, name).indices < 40
        assert is_training.all() if name in ("members", "pool") else not is_training.any()
    assert splits.kind == "published"


def test_without_nonmembers_the_validation_examples_serve_as_nonmembers(published):
    splits = data.load({**published, "members": 0.5, "reference": 6}, seed=0)
    assert np.array_equal(splits.nonmembers.indices, splits.validation.indices)
    assert (len(splits.members), len(splits.validation)) == (20, 20)
    assert splits.kind == "published, validation as nonmembers"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"members": 40, "reference": 1},
            r"the published training set has 40 \(pool 0, reference 1",
        ),
        ({"reference": 41}, "need 41 examples, and the published training set has 40"),
        ({"members": 30, "pool": 11}, "the published training set has 40"),
        ({"test": 20}, "dataset.validation must hold at least one"),
    ],
)
def test_a_published_split_that_does_not_fit_is_refused(published, sizes, message):
    with pytest.raises(DataError, match=message):
        data.load({**published, **sizes}, seed=0)


def test_a_reference_set_larger_than_the_data_is_refused():
    with pytest.raises(DataError, match="reference 2,000"):
        data.load({"name": "digits", "reference": 2000}, seed=0)


def test_a_published_split_of_data_without_one_is_refused():
    with pytest.raises(DataError, match="'digits' has no published split"):
        data.load({"name": "digits", "split": "published"}, seed=0)


def test_an_unknown_split_is_refused():
    with pytest.raises(SpaceError, match="`dealt` .* or `published`, got 'publshed'"):
        data.load({"name": "digits", "split": "publshed"}, seed=0)


@pytest.mark.parametrize("labels", ["from 1", "one-hot", "from 0"])
def test_purchase_records_are_bytes_for_every_form_of_labels(tmp_path, monkeypatch, labels):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    features = np.random.default_rng(0).integers(0, 2, (60, 600)).astype(float)
    classes = np.arange(60) % 3
    forms = {"from 1": classes + 1, "one-hot": np.eye(3)[classes], "from 0": classes}
    np.savez(tmp_path / "purchase100.npz", features=features, labels=forms[labels])
    members = data.load({"name": "purchase100"}, seed=0).members
    assert members.features.dtype == np.uint8
    assert members.shape == (600,)
    assert np.array_equal(members.pixels(), features[members.indices])
    assert np.array_equal(members.labels, classes[members.indices])


def test_records_that_are_not_binary_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path))
    (tmp_path / "texas100").mkdir()
    write_npz(tmp_path / "texas100" / "texas100.npz")
    with pytest.raises(DataError, match="texas100 holds 6,169 features of 0 and 1"):
        data.load({"name": "texas100"}, seed=0)


def test_missing_records_are_an_error_that_says_where_to_put_them(tmp_path, monkeypatch):
    for name in ("RAYSWEEP_DATA", "XDG_CACHE_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(DataError, match=r"put purchase100\.npz .* into a folder named purchase100"):
        data.load({"name": "purchase100"}, seed=0)


def test_synthetic_records_are_the_same_each_time_and_differ_by_class():
    spec = {"name": "synthetic_purchase", "records": 600, "features": 50, "classes": 3}
    first = data.load({**spec, "spread": 2.0}, seed=0).members
    again = data.load({**spec, "spread": 2.0}, seed=0).members
    assert np.array_equal(first.features, again.features)
    class_means = np.stack([first.pixels()[first.labels == c].mean(axis=0) for c in range(3)])
    nearest = ((first.pixels()[:, None] - class_means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == first.labels).mean() > 0.95


def test_two_splits_are_concatenated_in_any_order(splits):
    both = data.concatenate(splits.members, splits.validation)
    assert both.indices.tolist() == [*splits.members.indices, *splits.validation.indices]
    order = np.random.default_rng(0).permutation(len(both))
    shuffled, slow = data.concatenate(splits.members, splits.validation, order), both.rows(order)
    for name in ("features", "labels", "indices"):
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(slow, name))
