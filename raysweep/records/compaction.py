"""Few large files in place of many small ones, so that reading a long sweep stays quick.

    trials/0a1b...parquet x 500  ->  trials/merged-000001.parquet

Only finished trials are merged. The merged file is whole before the first small one goes; should
the driver die between the two, a trial stands twice for a while, and readers take the newest row.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from raysweep.records.store import Store, is_merged, stem
from raysweep.records.tables import SCHEMAS

TOGETHER = 500

FIRST = "merged-000001"


def compact(store: Store, *, least: int = TOGETHER) -> None:
    """Merge the small files of every table, once ``least`` finished trials have one.

    Raises:
        StoreError: the folder cannot be read or written; what was there before still is.

    """
    finished = {stem(name) for name in store.files("trials") if not is_merged(name)}
    if len(finished) < least:
        return
    for table in sorted(SCHEMAS, key="trials".__eq__):  # trials last, as when they are written
        names = store.files(table)
        small = [name for name in names if stem(name) in finished]
        if not small:
            continue
        last = max((stem(name) for name in names if is_merged(name)), default="merged-0")
        number = 1 + int(last.rpartition("-")[2])
        store.write_table(store.arrow(table, small), table, f"merged-{number:06d}")
        store.remove_all(table, small)


def drop_orphans(store: Store, finished: Collection[str]) -> None:
    """Remove what a driver that died wrote of trials that are not among ``finished``.

    Tried again, a trial may have no rows for a table, and the old ones would pass for its own. A
    row in ``trials`` is never removed.
    """
    for table in SCHEMAS.keys() - {"trials"}:
        own = (name for name in store.files(table) if re.fullmatch("[0-9a-f]{16}", stem(name)))
        store.remove_all(table, [name for name in own if stem(name) not in finished])


def tidy(store: Store) -> None:
    """Remove what a driver that was killed left half done.

    Files half written, and the small files that a merge has left beside the merged one.
    """
    store.drop_halves()
    names = store.files("trials")
    merged = [name for name in names if is_merged(name)]
    if not merged:
        return
    held = {row["trial_id"]: row for row in store.arrow("trials", merged[:1]).to_pylist()}
    for name in names:
        row = None if is_merged(name) else held.get(stem(name))
        if row is not None and store.arrow("trials", [name]).to_pylist() == [row]:
            for table in SCHEMAS:
                store.folder.remove(table, f"{stem(name)}.parquet")
