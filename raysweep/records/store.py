"""What a sweep leaves behind: Parquet in and out. The records are the truth.

    space.yaml  trials/  attacks/  epochs/  scores/  reconstructions/  front.parquet  *.png

One small file a trial in each folder that it has rows for, written whole or not at all. A trial is
finished when its file in ``trials/`` exists: the others are written first, all at once, and removed
when they are all that a dead driver left. Long sweeps merge the small files of finished trials
(``compaction``). Any fsspec path: local, NFS, s3://, gs://.
"""

from __future__ import annotations

import functools
import glob
import os
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysweep.config.yaml import Document
from raysweep.defences import present_names
from raysweep.errors import SpaceError, StoreError
from raysweep.records.folder import SPACE, Folder, Gone
from raysweep.records.tables import SCHEMAS, Packed, _encoded, row_of

MERGED = "merged-"  # how the names of files with many trials begin; no trial_id does

AT_ONCE = 32  # files that are asked of an object store together


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)


def _on_disk(name: str) -> pa.NativeFile:
    """Return a file of which what is asked for is read; a small one is read at once."""
    file = pa.OSFile(name)
    return file if is_merged(name) else pa.BufferReader(file.read_buffer())


def _holds(file: pq.ParquetFile, wanted: pa.Array) -> bool:
    """Return whether a file has a row of one of the ``wanted`` trials, whose ids alone are read."""
    ids = file.read(["trial_id"], use_threads=False)["trial_id"]
    kept = [pa.array(chunk.dictionary).cast(pa.string()) for chunk in ids.chunks]
    return any(pc.any(pc.is_in(names, wanted)).as_py() for names in kept)


def is_merged(name: str) -> bool:
    """Return whether a file holds many trials."""
    return stem(name).startswith(MERGED)


def stem(name: str) -> str:
    """Return the name of a file without its folder and its ending: a trial's id, or ``merged-``."""
    return name.rpartition("/")[2].removesuffix(".parquet")


def _remedy(name: str) -> str:
    """Return what to do about a torn file of a table."""
    table = name.rpartition("/")[0].rpartition("/")[2]
    if is_merged(name):
        again = "runs its trials again" if table == "trials" else "goes on without its rows"
        return f"move it out of the folder; the same command then {again}"
    also = "" if table == "trials" else f" and trials/{stem(name)}.parquet with it"
    return f"move it out of the folder{also}; the same command then runs that trial again"


class Store:
    """A results folder. Reading never changes it."""

    def __init__(self, path: str) -> None:
        self.folder = Folder(path)
        self.path = self.folder.path

    def drop_halves(self) -> None:
        """Remove what a driver had half written of its tables; object stores keep no halves.

        Only who holds the lock may: a living driver writes such files.
        """
        for table in SCHEMAS if self.folder.is_local else ():
            folder = glob.escape(self.folder.full(table))
            for name in glob.glob(f"{folder}/.*.{'[0-9a-f]' * 8}.tmp"):
                self.folder.remove(table, os.path.basename(name))

    def remove_all(self, table: str, names: Iterable[str]) -> None:
        """Remove the files of some trials from a table, as far as they are there."""
        for _ in self._hands.map(
            lambda name: self.folder.remove(table, f"{stem(name)}.parquet"), names
        ):
            pass

    def write(self, packed: Packed, *, before_row: Callable[[], None] | None = None) -> None:
        """Write all rows of one trial; ``before_row`` has the last word before that in ``trials``.

        Raises:
            StoreError: the folder takes no files; the trial is not finished then.

        """
        trial_id = packed.trial.trial_id
        others = [
            self._hands.submit(self.folder.write_bytes, content, table, f"{trial_id}.parquet")
            for table, content in packed.files.items()
        ]
        row = row_of(packed.trial)
        wait(others)
        for other in others:
            other.result()
        if before_row is not None:
            before_row()
        self.write_table(row, "trials", trial_id)

    @functools.cached_property
    def _hands(self) -> ThreadPoolExecutor:
        """Threads that wait for a disk or a network together; one where it cannot be shared."""
        shared = (
            len(SCHEMAS) - 1
            if self.folder.is_local
            else AT_ONCE
            if self.folder.fs.async_impl
            else 1
        )
        return ThreadPoolExecutor(shared, thread_name_prefix="store")

    def files(self, table: str) -> list[str]:
        """Return the Parquet files of a table, the newest word on a trial first.

        Small files stand before merged ones, and later merged ones before earlier ones.
        """
        folder = self.folder.full(table)
        with self.folder.reaching("read"):
            if not self.folder.fs.isdir(folder):
                return []
            self.folder.fs.invalidate_cache()
            found: Iterable[str] = self.folder.fs.ls(folder, detail=False)
        names = sorted(name for name in found if name.endswith(".parquet"))
        merged = [name for name in names if is_merged(name)]
        return [name for name in names if not is_merged(name)] + merged[::-1]

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        trials: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """Return a table; one row a trial in ``trials``, the newest.

        Of all trials or of those with a ``trial_id`` among ``trials``; whole or with some of its
        columns. Both spare what is not asked for: files that hold none of them are left alone.

        Raises:
            StoreError: a file is torn, or not one of raysweep's.

        """
        rows = self._settled(table, columns, trials)
        frame = typing.cast(pd.DataFrame, rows.to_pandas())
        if table == "trials":
            return frame.drop_duplicates("trial_id", ignore_index=True)
        return frame

    def _settled(
        self, table: str, columns: Sequence[str] | None, trials: Collection[str] | None
    ) -> pa.Table:
        """Return the rows of a table; look again while a sweep merges the files that were there."""
        for _ in range(3):
            names = self.files(table)
            if trials is not None:
                names = [name for name in names if is_merged(name) or stem(name) in trials]
            try:
                return self.arrow(table, names, columns, trials)
            except Gone as error:
                gone = error
        raise gone

    def arrow(
        self,
        table: str,
        names: Sequence[str],
        columns: Sequence[str] | None = None,
        trials: Collection[str] | None = None,
    ) -> pa.Table:
        """Return the rows of some files of a table, in their order.

        Raises:
            StoreError: a file is torn, not one of raysweep's, or there no more.

        """
        schema = SCHEMAS[table]
        if columns is not None:
            kept = [name for name in schema.names if name in {"trial_id", *columns}]
            schema = pa.schema([schema.field(name) for name in kept])
        wanted = None if trials is None else pa.array(trials, pa.string())
        parts = [
            self._read_file(name, content, schema, wanted)
            for name, content in zip(names, self._contents(names), strict=True)
        ]
        return pa.concat_tables([schema.empty_table(), *parts])

    def _contents(self, names: Sequence[str]) -> Iterator[pa.NativeFile]:
        """Yield files to read: of a disk what is asked for, of an object store many at once."""
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            with self.folder.reaching("read"):
                if self.folder.is_local:
                    found = [_on_disk(name) for name in some]
                else:
                    contents = self.folder.fs.cat_ranges(some, None, None, on_error="raise")
                    found = [pa.BufferReader(content) for content in contents]
            yield from found

    def write_table(self, rows: pa.Table, table: str, name: str) -> None:
        """Write rows as one file of a table, whole or not at all."""
        self.folder.write_bytes(_encoded(rows), table, f"{name}.parquet")

    def _read_file(
        self, name: str, content: pa.NativeFile, schema: pa.Schema, wanted: pa.Array | None
    ) -> pa.Table:
        try:
            file = pq.ParquetFile(content, read_dictionary=None if wanted is None else ["trial_id"])
            there = set(file.schema_arrow.names)
            if "trial_id" not in there:
                raise pa.ArrowInvalid("it has no column trial_id")
            if wanted is not None and not _holds(file, wanted):
                return schema.empty_table()
            # No threads for a file this small: they outlive it and may abort Python's exit.
            found = file.read([c for c in schema.names if c in there], use_threads=False)
            columns = [
                _cast(found[column], kind) if column in there else pa.nulls(len(found), kind)
                for column, kind in zip(schema.names, schema.types, strict=True)
            ]
            rows = pa.table(columns, schema=schema)
            rows.validate(full=True)
            return rows if wanted is None else rows.filter(pc.is_in(rows["trial_id"], wanted))
        except (pa.ArrowException, OSError, KeyError) as error:
            told = str(error).strip().splitlines()[0]
            raise StoreError(
                f"{name} is torn or is not raysweep's ({told}); {_remedy(name)}"
            ) from None

    def space_document(self) -> dict[str, Any]:
        """Return the space as run, as plain values.

        Raises:
            StoreError: there is none, so this is no results folder.

        """
        name = f"{self.path}/{SPACE}"
        try:
            document = Document(self.folder.read_bytes(SPACE).decode(), name).value
        except (FileNotFoundError, NotADirectoryError):
            remedy = "give the --out folder of a sweep"
            raise StoreError(
                f"{self.path} is no results folder (no space.yaml); {remedy}"
            ) from None
        except (SpaceError, UnicodeDecodeError) as error:
            raise StoreError(f"{name} is not a space that raysweep wrote: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("objectives"), dict):
            raise StoreError(f"{name} is not a space that raysweep wrote")
        return present_names(document)
