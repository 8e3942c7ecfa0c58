"""Who gets the lock of a results folder when drivers come at the same moment."""

import errno
import json
import os

import pytest

from raysweep.driver import lock as lock_module
from raysweep.driver.lock import SETTLE, Lock
from raysweep.errors import StoreBusy
from raysweep.records.store import Store


@pytest.fixture
def waits(monkeypatch):
    """The waits of every driver, which end at once."""
    found = []
    monkeypatch.setattr(lock_module.time, "sleep", found.append)
    return found


def test_a_new_lock_made_by_a_hard_link_is_not_looked_at_again(tmp_path, waits):
    with Lock(Store(str(tmp_path))):
        assert waits == []


def test_a_new_lock_on_a_disk_without_hard_links_is_looked_at_again(tmp_path, waits, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    with Lock(Store(str(tmp_path))):
        assert waits == [SETTLE]


def test_a_lock_that_is_taken_over_is_looked_at_again(tmp_path, waits):
    store = Store(str(tmp_path))
    store.folder.write_bytes(b"half writ", "lock.json")
    with Lock(store):
        assert waits == [SETTLE]


def test_a_link_to_nothing_in_place_of_a_lock_is_replaced(tmp_path, waits):
    (tmp_path / "lock.json").symlink_to(tmp_path / "nowhere")
    with Lock(Store(str(tmp_path))):
        assert waits == [SETTLE]
        assert not (tmp_path / "lock.json").is_symlink()
    assert not list(tmp_path.iterdir())


def test_a_lock_made_the_moment_another_ends_is_not_replaced(tmp_path, monkeypatch):
    first, second, third = (Lock(Store(str(tmp_path))) for _ in range(3))
    refuse_if, turns = Lock._refuse_if, []

    def end_and_begin(self, condition):
        """Let the first driver end, and the second begin, while the third looks at the lock."""
        if self is not third or turns:
            return refuse_if(self, condition)
        turns.append("once")
        first.__exit__(None, None, None)
        judged = refuse_if(self, condition)
        second.__enter__()
        return judged

    first.__enter__()
    monkeypatch.setattr(Lock, "_refuse_if", end_and_begin)
    try:
        with pytest.raises(StoreBusy, match=f"in use by process {os.getpid()}"):
            third.__enter__()
        assert turns == ["once"]
        content = json.loads((tmp_path / "lock.json").read_text())
        assert content["token"] == second._holder["token"]
    finally:
        second.__exit__(None, None, None)
