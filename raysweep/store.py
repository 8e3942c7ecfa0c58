"""What a sweep leaves behind: Parquet in and out. The records are the truth.

    space.yaml  trials/  attacks/  epochs/  scores/  reconstructions/  front.parquet  *.png

One small file a trial in each folder that it has rows for, written whole or not at all. A trial is
finished when its file in ``trials/`` exists: the others are written first, all at once, and removed
when they are all that a dead driver left. Long sweeps merge the small files of finished trials
(``compaction``). Any fsspec path: local, NFS, s3://, gs://.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import glob
import io
import json
import os
import types
import typing
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysweep import defences
from raysweep.document import Document
from raysweep.errors import SpaceError, StoreError
from raysweep.record import AttackRecord, EpochRecord, TrialRecord, TrialResult

MERGED = "merged-"  # how the names of files with many trials begin; no trial_id does
AT_ONCE = 32  # files that are asked of an object store together
FEW_ROWS = 100
DENSE = {"compression": "zstd"}
PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}
"""How few rows are written: in half of the time, and read in half; compressed they are larger."""
SPACE = "space.yaml"  # its presence says that a folder holds a sweep
ARROW = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}


def _arrow_type(hint: Any) -> pa.DataType:
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(part for part in parts if part is not type(None))
    return ARROW.get(kind, pa.string())


def _schema_of(record: type[Any]) -> pa.Schema:
    hints = typing.get_type_hints(record)
    columns = {name: _arrow_type(hint) for name, hint in hints.items() if name != "defences"}
    return pa.schema(list(columns.items()))


def _trials_schema() -> pa.Schema:
    own = _schema_of(TrialRecord)
    columns = list(zip(own.names, own.types, strict=True))
    for key, value in defences.neutral().items():
        if key not in own.names:
            columns.append((key, pa.string() if isinstance(value, str) else pa.float64()))
    return pa.schema(columns)


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


@contextlib.contextmanager
def _beside(target: str, content: bytes) -> Iterator[str]:
    """Write what is to become ``target`` under another name, which goes if it does not.

    The leading dot hides it from whoever reads the folder as one Parquet data set.
    """
    folder, _, name = target.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def _create(target: str, content: bytes) -> None:
    """Write a file that is not there, so that nobody ever reads it half written.

    Some file systems know no hard links (FAT, several in user space): whoever is quick enough may
    read an empty file there.
    """
    with _beside(target, content) as temporary:
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            with open(target, "xb") as file:
                file.write(content)
        os.remove(temporary)


class _Gone(StoreError):
    """A file was listed and is there no more: a sweep has merged it meanwhile."""


_IMAGE = pa.list_(pa.float32())
SCHEMAS: dict[str, pa.Schema] = {
    "scores": pa.schema(
        {
            "trial_id": pa.string(),
            "attack": pa.string(),
            "example": pa.int64(),
            "member": pa.bool_(),
            "score": pa.float64(),
            "reached": pa.bool_(),
        }
    ),
    "reconstructions": pa.schema(
        {
            "trial_id": pa.string(),
            "attack": pa.string(),
            "layer": pa.string(),
            "example": pa.int64(),
            "label": pa.int64(),
            "converged": pa.bool_(),
            "mse": pa.float64(),
            "ssim": pa.float64(),
            "cost": pa.float64(),
            "recognised": pa.bool_(),
            "shape": pa.list_(pa.int64()),
            "original": _IMAGE,
            "image": _IMAGE,
        }
    ),
    "attacks": _schema_of(AttackRecord),
    "epochs": _schema_of(EpochRecord),
    "trials": _trials_schema(),
}


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What one trial leaves behind, ready to be written: its row, and the other tables' files.

    Workers pack, so that the one process that writes for all of them has little to do.
    """

    trial: TrialRecord
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # Tune prints results

    def numbered(
        self, *, number: int, scenario: str | None = None, retries: Sequence[str] = ()
    ) -> Packed:
        """Return the same with its proposal's place, and why the attempts before it failed."""
        trial = dataclasses.replace(
            self.trial,
            number=number,
            scenario=scenario,
            attempts=1 + len(retries),
            retries=json.dumps(list(retries)) if retries else None,
        )
        return dataclasses.replace(self, trial=trial)


def pack(result: TrialResult) -> Packed:
    """Return a trial's rows as files of Parquet, one for each table that has any."""
    files = {name: _encoded(rows) for name, rows in tables_of(result).items() if len(rows)}
    return Packed(trial=result.trial, files=files)


def tables_of(result: TrialResult) -> dict[str, pa.Table]:
    """Return the tables of one trial but for ``trials``, whose row is not yet numbered."""
    tables = {"scores": _scores_table(result.trial.trial_id, result)}
    tables["reconstructions"] = _images(result)
    for name, records in {"attacks": result.attacks, "epochs": result.epochs}.items():
        rows = [vars(record) for record in records]
        tables[name] = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
    return tables


def row_of(trial: TrialRecord) -> pa.Table:
    """Return the table of one row in ``trials``."""
    return pa.Table.from_pylist([trial.row()], schema=SCHEMAS["trials"])


def _encoded(rows: pa.Table) -> bytes:
    """Return rows as one file of Parquet."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, **(DENSE if len(rows) > FEW_ROWS else PLAIN))
    return buffer.getvalue()


def _scores_table(trial_id: str, result: TrialResult) -> pa.Table:
    parts = [
        pa.table(
            [
                pa.array([trial_id] * len(rows.score)),
                pa.array([rows.attack] * len(rows.score)),
                rows.example,
                rows.member,
                rows.score,
                pa.nulls(len(rows.score), pa.bool_()) if rows.reached is None else rows.reached,
            ],
            schema=SCHEMAS["scores"],
        )
        for rows in result.scores
    ]
    return pa.concat_tables([SCHEMAS["scores"].empty_table(), *parts])


def _images(result: TrialResult) -> pa.Table:
    schema = SCHEMAS["reconstructions"]
    parts = [schema.empty_table()]
    for found in result.reconstructions:
        n = len(found.example)
        columns = vars(found) | {
            "trial_id": [result.trial.trial_id] * n,
            "attack": [found.attack] * n,
            "layer": [found.layer] * n,
            "shape": [list(found.original.shape[1:])] * n,
            "original": list(found.original.reshape(n, -1)),
            "image": list(found.image.reshape(n, -1)),
        }
        arrays = [
            pa.nulls(n, kind) if columns[key] is None else pa.array(columns[key], kind)
            for key, kind in zip(schema.names, schema.types, strict=True)
        ]
        parts.append(pa.table(arrays, schema=schema))
    return pa.concat_tables(parts)


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


def numeric(table: str) -> list[str]:
    """Return the names of the columns of a table that hold numbers."""
    kinds = zip(SCHEMAS[table].names, SCHEMAS[table].types, strict=True)
    return [name for name, kind in kinds if pa.types.is_integer(kind) or pa.types.is_floating(kind)]


class Store:
    """A results folder. Reading never changes it."""

    def __init__(self, path: str) -> None:
        self.path = str(path).rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.path, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            remedy = "write a local path, or install the file system (pip install 'raysweep[s3]')"
            raise StoreError(f"results folder {self.path!r}: {error}; {remedy}") from None
        self.is_local = "file" in (
            self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        )

    def full(self, *parts: str) -> str:
        """Return the path of a file inside the folder, as its file system names it."""
        return "/".join([self._root, *parts])

    def exists(self, *parts: str) -> bool:
        """Return whether the folder holds a file."""
        with self._reaching("read"):
            return bool(self._fs.exists(self.full(*parts)))

    def require(self) -> None:
        """Raise :class:`StoreError` unless the folder is there and holds a sweep.

        An unmounted share leaves an empty folder behind: what is written there is lost when the
        share comes back.
        """
        if not self.exists(SPACE):
            raise self._unreachable("written", f"it is gone: it holds no {SPACE}")

    def read_bytes(self, *parts: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is none.
            StoreError: the folder cannot be reached.

        """
        with self._reaching("read"):
            try:
                return bytes(self._fs.cat_file(self.full(*parts)))
            except FileNotFoundError as error:
                missing = error
        raise missing

    def write_bytes(self, content: bytes, *parts: str) -> None:
        """Write a file whole or not at all: rename on disks, one PUT on object stores.

        Raises:
            StoreError: it is read-only, full or gone; what was there before still is.

        """
        target = self.full(*parts)
        with self._reaching("written"):
            if not self.is_local:
                self._fs.pipe_file(target, content)
                return
            folder = target.rpartition("/")[0]
            if not os.path.isdir(folder):  # only a sweep that begins makes its folder
                (os.makedirs if parts == (SPACE,) else os.mkdir)(folder)
            with _beside(target, content) as temporary:
                os.replace(temporary, target)

    def create_bytes(self, content: bytes, *parts: str) -> bool:
        """Write a file unless it is there; return whether it was written.

        Two drivers cannot both succeed on a disk, nor on an object store that knows conditional
        writes (S3 and GCS do).
        """
        target = self.full(*parts)
        with self._reaching("written"):
            try:
                if self.is_local:
                    os.makedirs(target.rpartition("/")[0], exist_ok=True)
                    _create(target, content)
                elif self._fs.exists(target):
                    return False
                else:
                    self._fs.pipe_file(target, content, mode="create")
            except FileExistsError:
                return False
        return True

    @contextlib.contextmanager
    def _reaching(self, verb: str) -> Iterator[None]:
        """Turn what a file system raises into a :class:`StoreError`; each has errors of its own."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if self.is_local and not isinstance(error, OSError):
                raise
            told = (error.strerror if isinstance(error, OSError) else None) or error
            problem = self._unreachable(verb, str(told))
            is_gone = isinstance(error, FileNotFoundError)
            raise (_Gone(str(problem)) if is_gone else problem) from error

    def _unreachable(self, verb: str, why: str) -> StoreError:
        told = f"results folder {self.path} cannot be {verb} ({why})"
        if verb == "read":
            return StoreError(f"{told}; check the path, the network and the credentials")
        remedy = "make room or choose another --out, then run the same command again"
        return StoreError(f"{told}; finished trials are safe: {remedy}")

    def remove(self, *parts: str) -> None:
        """Remove one of raysweep's own files, if it is there."""
        with self._reaching("written"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self.full(*parts))

    def drop_halves(self) -> None:
        """Remove what a driver had half written of its tables; object stores keep no halves.

        Only who holds the lock may: a living driver writes such files.
        """
        for table in SCHEMAS if self.is_local else ():
            folder = glob.escape(self.full(table))
            for name in glob.glob(f"{folder}/.*.{'[0-9a-f]' * 8}.tmp"):
                self.remove(table, os.path.basename(name))

    def remove_all(self, table: str, names: Iterable[str]) -> None:
        """Remove the files of some trials from a table, as far as they are there."""
        for _ in self._hands.map(lambda name: self.remove(table, f"{stem(name)}.parquet"), names):
            pass

    def write(self, packed: Packed, *, before_row: Callable[[], None] | None = None) -> None:
        """Write all rows of one trial; ``before_row`` has the last word before that in ``trials``.

        Raises:
            StoreError: the folder takes no files; the trial is not finished then.

        """
        trial_id = packed.trial.trial_id
        others = [
            self._hands.submit(self.write_bytes, content, table, f"{trial_id}.parquet")
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
        shared = len(SCHEMAS) - 1 if self.is_local else AT_ONCE if self._fs.async_impl else 1
        return ThreadPoolExecutor(shared, thread_name_prefix="store")

    def files(self, table: str) -> list[str]:
        """Return the Parquet files of a table, the newest word on a trial first.

        Small files stand before merged ones, and later merged ones before earlier ones.
        """
        folder = self.full(table)
        with self._reaching("read"):
            if not self._fs.isdir(folder):
                return []
            self._fs.invalidate_cache()
            found: Iterable[str] = self._fs.ls(folder, detail=False)
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
            except _Gone as error:
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
            with self._reaching("read"):
                if self.is_local:
                    found = [_on_disk(name) for name in some]
                else:
                    contents = self._fs.cat_ranges(some, None, None, on_error="raise")
                    found = [pa.BufferReader(content) for content in contents]
            yield from found

    def write_table(self, rows: pa.Table, table: str, name: str) -> None:
        """Write rows as one file of a table, whole or not at all."""
        self.write_bytes(_encoded(rows), table, f"{name}.parquet")

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
            document = Document(self.read_bytes(SPACE).decode(), name).value
        except (FileNotFoundError, NotADirectoryError):
            remedy = "give the --out folder of a sweep"
            raise StoreError(
                f"{self.path} is no results folder (no space.yaml); {remedy}"
            ) from None
        except (SpaceError, UnicodeDecodeError) as error:
            raise StoreError(f"{name} is not a space that raysweep wrote: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("objectives"), dict):
            raise StoreError(f"{name} is not a space that raysweep wrote")
        return document
