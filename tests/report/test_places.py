"""Where `report --out` writes: a page on any path that fsspec supports, or a refusal."""

import fsspec
import pytest
import yaml
from conftest import SMALL

from raysweep.errors import SpaceError, StoreError
from raysweep.records.store import Store
from raysweep.report import build
from raysweep.space.parsing import parse_space


@pytest.fixture
def folder(tmp_path):
    """A results folder without trials, whose report has no figures and takes no time."""
    store = Store(str(tmp_path / "sweep"))
    space = parse_space(SMALL, "small.yaml")
    store.folder.write_bytes(yaml.safe_dump(space.to_plain()).encode(), "space.yaml")
    return store.path


@pytest.mark.parametrize(
    ("out", "page"),
    [
        ("page.html", "page.html"),
        ("new/deep/page.htm", "new/deep/page.htm"),
        (".", "report.html"),
        ("there", "there/report.html"),
        ("new/", "new/report.html"),
    ],
)
def test_the_page_is_written_to_a_file_or_into_a_folder(folder, tmp_path, monkeypatch, out, page):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    build.write([folder], out)
    assert (tmp_path / page).read_text().startswith("<!doctype html>")


def test_the_page_is_written_to_an_object_store(folder):
    written = build.write([folder], "memory://bucket/a/page.html")
    assert written == ["memory://bucket/a/page.html"]
    content = fsspec.filesystem("memory").cat_file("/bucket/a/page.html")
    assert content.startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    "out", ["", "page", "page.pdf", "s3://page.html", "s3://bucket", "a.html/b"]
)
def test_what_is_neither_a_page_nor_a_folder_is_refused(folder, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SpaceError, match=r"--out must name an HTML page.*report\.html"):
        build.write([folder], out)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_kind_of_path_is_refused(folder):
    with pytest.raises(StoreError, match="nosuch"):
        build.write([folder], "nosuch://bucket/page.html")


def test_a_link_in_the_place_of_the_page_is_replaced_and_not_followed(folder, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "page.html").symlink_to(precious)
    build.write([folder], tmp_path / "page.html")
    assert precious.read_text() == "mine"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert not (tmp_path / "page.html").is_symlink()
