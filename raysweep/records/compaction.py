"""Merge many small files into few large ones, so that a long sweep can be read quickly.

    trials/0a1b...parquet x 500  ->  trials/merged-000001.parquet

Only finished trials are merged. The merged file is complete before the first small one is removed.
If the driver dies in between, a trial is stored twice for a while, and readers take its newest row.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from raysweep.errors import StoreError
from raysweep.records.store import MERGED, Store, is_merged, merged_number, stem
from raysweep.records.tables import SCHEMAS, to_parquet

TOGETHER = 500

FIRST = "merged-000001"


def compact(store: Store, *, least: int = TOGETHER) -> None:
    """Merge the small files of every table if at least ``least`` finished trials have one.

    Raises:
        StoreError: the folder cannot be read or written; no record is lost.

    """
    finished = {stem(name) for name in store.files("trials") if not is_merged(name)}
    if len(finished) < least:
        return

    others = [table for table in SCHEMAS if table != "trials"]
    for table in [*others, "trials"]:  # trials last, as when they are written
        names = store.files(table)
        small = [name for name in names if stem(name) in finished]
        if not small:
            continue

        number = 1 + max((merged_number(name) for name in names if is_merged(name)), default=0)
        merged = to_parquet(store.arrow(table, small))
        name = f"{MERGED}{number:06d}.parquet"
        try:
            store.folder.create_bytes(merged, table, name)
        except FileExistsError:
            raise StoreError(f"{store.path} has another file {name} in {table} by now") from None
        store.remove_all(table, small)


def drop_orphans(store: Store, finished: Collection[str]) -> None:
    """Remove the files that a driver wrote before it died, of trials not among ``finished``.

    When such a trial runs again it may have no rows for a table, and the old rows would count as
    its rows. A row in ``trials`` is never removed.
    """
    for table in SCHEMAS.keys() - {"trials"}:
        small = [name for name in store.files(table) if re.fullmatch("[0-9a-f]{16}", stem(name))]
        store.remove_all(table, [name for name in small if stem(name) not in finished])


def tidy(store: Store) -> None:
    """Remove the unneeded files of a driver that was killed.

    They are temporary files, and small files whose rows were already merged.
    """
    store.remove_temporary_files()

    names = store.files("trials")
    merged = [name for name in names if is_merged(name)]
    if not merged:
        return

    merged_rows = {row["trial_id"]: row for row in store.arrow("trials", merged[:1]).to_pylist()}
    for name in names:
        row = None if is_merged(name) else merged_rows.get(stem(name))
        if row is not None and store.arrow("trials", [name]).to_pylist() == [row]:
            for table in SCHEMAS:
                store.folder.remove(table, f"{stem(name)}.parquet")
