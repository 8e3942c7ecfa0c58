"""Read and write the tables of a results folder as Parquet files.

    space.yaml  data.json  trials/  attacks/  epochs/  scores/  examples/
    subsets/  reconstructions/  front.parquet  *.png

Each trial has one small file in each folder that it has rows for. A trial is finished when its file
in ``trials/`` exists. Its other files are written before that one, in parallel. If the driver dies
in between, they are removed later. Long sweeps merge the small files of finished trials
(``compaction``). The folder may be on any fsspec path: local, NFS, s3://, gs://.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
import time
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysweep.config.own_class import is_own_key
from raysweep.config.yaml import Document
from raysweep.defences import rename_older_in_space
from raysweep.errors import SpaceError, StoreError
from raysweep.records.folder import SPACE, FileGone, Folder, require_file
from raysweep.records.priors import is_at_prior
from raysweep.records.tables import SCHEMAS, Packed, row_of, to_parquet

MERGED = "merged-"  # the names of files with many trials begin with it; no trial_id does

HEX = "[0-9a-f]"

TRIAL_ID = "^[0-9A-Za-z_-]{1,64}$"
"""What a trial's id may be: it stands in names of files, in YAML and in a terminal."""

FILES_AT_ONCE = 32  # files requested from an object store at once


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)


def _with_own(schema: pa.Schema, found: pa.Schema, asked: Collection[str] | None) -> pa.Schema:
    """Return ``schema`` with the columns of a space's own that a file has, or those ``asked``."""
    for column in found:
        is_own = is_own_key(column.name) or is_at_prior(column.name)
        if is_own and column.name not in schema.names and (asked is None or column.name in asked):
            kind = pa.string() if pa.types.is_string(column.type) else pa.float64()
            schema = schema.append(pa.field(column.name, kind))
    return schema


def _open_on_disk(name: str) -> pa.NativeFile:
    """Return a file of which only the requested columns are read; a small one is read whole."""
    require_file(name)
    file = pa.OSFile(name)
    return file if is_merged(name) else pa.BufferReader(file.read_buffer())


def _holds(file: pq.ParquetFile, wanted: pa.Array) -> bool:
    """Return whether a file has a row of one of the ``wanted`` trials; reads only the ids."""
    ids = file.read(["trial_id"], use_threads=False)["trial_id"]
    distinct = [pa.array(chunk.dictionary).cast(pa.string()) for chunk in ids.chunks]
    return any(pc.any(pc.is_in(names, wanted)).as_py() for names in distinct)


def _check_ids(name: str, ids: pa.ChunkedArray) -> None:
    """Raise ArrowInvalid unless the rows are those of the trials that a file's name promises."""
    distinct = ids.unique()
    if not is_merged(name) and distinct.to_pylist() not in ([], [stem(name)]):
        raise pa.ArrowInvalid("its rows are not those of the trial in its name")
    is_one = pc.match_substring_regex(distinct, TRIAL_ID)
    if distinct.null_count or pc.all(is_one, min_count=0).as_py() is False:
        raise pa.ArrowInvalid("a trial_id in it is none that raysweep gives")


def is_merged(name: str) -> bool:
    """Return whether a file holds many trials."""
    return stem(name).startswith(MERGED)


def merged_number(name: str) -> int:
    """Return the number in the name of a merged file; 0 if somebody gave it another name.

    >>> merged_number("trials/merged-000012.parquet"), merged_number("merged-copy.parquet")
    (12, 0)
    """
    match = re.fullmatch(f"{MERGED}([0-9]+)", stem(name))
    return int(match[1]) if match else 0


def stem(name: str) -> str:
    """Return a file's name without folder and ending: a trial's id, or ``merged-`` and a number."""
    return name.rpartition("/")[2].removesuffix(".parquet")


def _remedy(name: str) -> str:
    """Return what a user can do about a damaged file of a table."""
    table = name.rpartition("/")[0].rpartition("/")[2]
    if is_merged(name):
        effect = "runs its trials again" if table == "trials" else "goes on without its rows"
        return f"move it out of the folder; the same command then {effect}"
    also = "" if table == "trials" else f" and trials/{stem(name)}.parquet with it"
    return f"move it out of the folder{also}; the same command then runs that trial again"


class Store:
    """The tables of a results folder. Reading never changes them."""

    def __init__(self, path: str) -> None:
        self.folder = Folder(path)
        self.path = self.folder.path

    def refuse_links(self) -> None:
        """Raise :class:`StoreError` if the folder of a table is a link to another folder."""
        for table in SCHEMAS:
            self.folder.refuse_link(table)

    def remove_temporary_files(self) -> None:
        """Remove the half-written files of a driver; object stores have none.

        Only the process that holds the lock may do this: a running driver writes such files.
        Another driver may be writing a lock, so that of the last minute stays.
        """
        for table in ("", *SCHEMAS) if self.folder.is_local else ():
            place = [table] if table else []
            for name in glob.glob(f"{glob.escape(self.folder.full(*place))}/.*.{HEX * 8}.tmp"):
                is_lock = os.path.basename(name).startswith(".lock.json.")
                with contextlib.suppress(FileNotFoundError):
                    if not is_lock or time.time() - os.path.getmtime(name) > 60:
                        self.folder.remove(*place, os.path.basename(name))

    def remove_all(self, table: str, names: Iterable[str]) -> None:
        """Remove those files of a table that exist among ``names``."""
        removals = [
            self._threads.submit(self.folder.remove, table, f"{stem(name)}.parquet")
            for name in names
        ]
        for removal in removals:
            removal.result()  # raises the error of its thread

    def write(self, packed: Packed, *, before_row: Callable[[], None] | None = None) -> None:
        """Write all rows of one trial; ``before_row`` is called before the row in ``trials``.

        Raises:
            StoreError: the folder cannot be written; the trial then counts as unfinished.

        """
        trial_id = packed.trial.trial_id
        writes = [
            self._threads.submit(self.folder.write_bytes, content, table, f"{trial_id}.parquet")
            for table, content in packed.files.items()
        ]
        row = row_of(packed.trial)
        wait(writes)
        for write in writes:
            write.result()  # raises the error of its thread

        if before_row is not None:
            before_row()
        self.write_table(row, "trials", trial_id)

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Threads that write or remove several files at the same time."""
        if self.folder.is_local:
            n_threads = len(SCHEMAS) - 1
        elif self.folder.fs.async_impl:
            n_threads = FILES_AT_ONCE
        else:
            n_threads = 1  # the file system may not be shared by threads
        return ThreadPoolExecutor(n_threads, thread_name_prefix="store")

    def files(self, table: str) -> list[str]:
        """Return the Parquet files of a table, the newest rows of a trial first.

        Small files come before merged ones, and later merged ones before earlier ones.
        """
        folder = self.folder.full(table)
        with self.folder.translate_errors("read"):
            if not self.folder.fs.isdir(folder):
                return []
            self.folder.fs.invalidate_cache()
            listing: Iterable[str] = self.folder.fs.ls(folder, detail=False)

        names = sorted(name for name in listing if name.endswith(".parquet"))
        merged = sorted((name for name in names if is_merged(name)), key=merged_number)
        return [name for name in names if not is_merged(name)] + merged[::-1]

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        trials: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """Return a table: its rows of all trials or of some, with all columns or with some.

        ``trials`` are the ids of the trials to return, and files without any of them are skipped.
        Of the table ``trials`` only the newest row of a trial is returned.

        Raises:
            StoreError: a file is damaged or raysweep did not write it.

        """
        rows = self._read_with_retries(table, columns, trials)
        frame = typing.cast(pd.DataFrame, rows.to_pandas())
        if table == "trials":
            return frame.drop_duplicates("trial_id", ignore_index=True)
        return frame

    def _read_with_retries(
        self, table: str, columns: Sequence[str] | None, trials: Collection[str] | None
    ) -> pa.Table:
        """Return rows of a table; list its files again if a sweep has merged them meanwhile."""
        for _ in range(3):
            names = self.files(table)
            if trials is not None:
                names = [name for name in names if is_merged(name) or stem(name) in trials]
            try:
                return self.arrow(table, names, columns, trials)
            except FileGone as error:
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
            StoreError: a file is damaged or gone, or raysweep did not write it.

        """
        schema = SCHEMAS[table]
        if columns is not None:
            chosen = [name for name in schema.names if name in {"trial_id", *columns}]
            at_priors = filter(is_at_prior, dict.fromkeys(columns))
            schema = pa.schema(
                [
                    *(schema.field(name) for name in chosen),
                    *(pa.field(name, pa.float64()) for name in at_priors),
                ]
            )

        wanted = None if trials is None else pa.array(trials, pa.string())
        parts = [
            self._read_file(name, content, schema, wanted, columns)
            for name, content in zip(names, self._contents(names), strict=True)
        ]
        try:
            return pa.concat_tables([schema.empty_table(), *parts], promote_options="default")
        except pa.ArrowException as error:  # an own defence's column of numbers and of texts
            rule = f"the files of {self.path}/{table} differ in the type of a column ({error})"
            raise StoreError(rule, remedy="give each class of your own one folder") from None

    def _contents(self, names: Sequence[str]) -> Iterator[pa.NativeFile]:
        """Yield the opened files; those of an object store are fetched many at once."""
        for first in range(0, len(names), FILES_AT_ONCE):
            some = names[first : first + FILES_AT_ONCE]
            with self.folder.translate_errors("read"):
                if self.folder.is_local:
                    opened = [_open_on_disk(name) for name in some]
                else:
                    contents = self.folder.fs.cat_ranges(some, None, None, on_error="raise")
                    opened = [pa.BufferReader(content) for content in contents]
            yield from opened

    def write_table(self, rows: pa.Table, table: str, name: str) -> None:
        """Write rows as one file of a table, completely or not at all."""
        self.folder.write_bytes(to_parquet(rows), table, f"{name}.parquet")

    def _read_file(
        self,
        name: str,
        content: pa.NativeFile,
        schema: pa.Schema,
        wanted: pa.Array | None,
        asked: Collection[str] | None,
    ) -> pa.Table:
        try:
            file = pq.ParquetFile(content, read_dictionary=None if wanted is None else ["trial_id"])
            present = set(file.schema_arrow.names)
            if "trial_id" not in present:
                raise pa.ArrowInvalid("it has no column trial_id")
            if wanted is not None and not _holds(file, wanted):
                return schema.empty_table()

            schema = _with_own(schema, file.schema_arrow, asked)
            # Threads are not worth it for so small a file, and they may abort Python's exit.
            content_rows = file.read([c for c in schema.names if c in present], use_threads=False)
            columns = [
                _cast(content_rows[column], kind)
                if column in present
                else pa.nulls(len(content_rows), kind)
                for column, kind in zip(schema.names, schema.types, strict=True)
            ]

            rows = pa.table(columns, schema=schema)
            rows.validate(full=True)
            _check_ids(name, rows["trial_id"])
            return rows if wanted is None else rows.filter(pc.is_in(rows["trial_id"], wanted))
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StoreError(
                f"{name} is damaged or raysweep did not write it ({reason})", remedy=_remedy(name)
            ) from None

    def space_document(self) -> dict[str, Any]:
        """Return the space as run, as plain values.

        Raises:
            StoreError: the folder holds no space, so it is not a results folder.

        """
        name = f"{self.path}/{SPACE}"
        try:
            document = Document(self.folder.read_bytes(SPACE).decode(), name).value
        except FileNotFoundError:
            raise StoreError(
                f"{self.path} is not a results folder (it holds no {SPACE})",
                remedy="give the --out folder of a sweep",
            ) from None
        except (SpaceError, UnicodeDecodeError) as error:
            raise StoreError(f"{name} is not a space that raysweep wrote: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("objectives"), dict):
            raise StoreError(f"{name} is not a space that raysweep wrote")
        return rename_older_in_space(document)
