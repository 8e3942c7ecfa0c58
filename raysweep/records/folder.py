"""A results folder as files: read, written whole or not at all, on any fsspec path."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator

import fsspec

from raysweep.errors import StoreError

SPACE = "space.yaml"  # its presence says that a folder holds a sweep


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


class Gone(StoreError):
    """A file was listed and is there no more: a sweep has merged it meanwhile."""


class Folder:
    """The files of one results folder: local, NFS, s3://, gs://."""

    def __init__(self, path: str) -> None:
        self.path = str(path).rstrip("/")
        try:
            self.fs, self._root = fsspec.core.url_to_fs(self.path, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            remedy = "write a local path, or install the file system (pip install 'raysweep[s3]')"
            raise StoreError(f"results folder {self.path!r}: {error}; {remedy}") from None
        self.is_local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )

    def full(self, *parts: str) -> str:
        """Return the path of a file inside the folder, as its file system names it."""
        return "/".join([self._root, *parts])

    def exists(self, *parts: str) -> bool:
        """Return whether the folder holds a file."""
        with self.reaching("read"):
            return bool(self.fs.exists(self.full(*parts)))

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
        with self.reaching("read"):
            try:
                return bytes(self.fs.cat_file(self.full(*parts)))
            except FileNotFoundError as error:
                missing = error
        raise missing

    def write_bytes(self, content: bytes, *parts: str) -> None:
        """Write a file whole or not at all: rename on disks, one PUT on object stores.

        Raises:
            StoreError: it is read-only, full or gone; what was there before still is.

        """
        target = self.full(*parts)
        with self.reaching("written"):
            if not self.is_local:
                self.fs.pipe_file(target, content)
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
        with self.reaching("written"):
            try:
                if self.is_local:
                    os.makedirs(target.rpartition("/")[0], exist_ok=True)
                    _create(target, content)
                elif self.fs.exists(target):
                    return False
                else:
                    self.fs.pipe_file(target, content, mode="create")
            except FileExistsError:
                return False
        return True

    @contextlib.contextmanager
    def reaching(self, verb: str) -> Iterator[None]:
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
            raise (Gone(str(problem)) if is_gone else problem) from error

    def _unreachable(self, verb: str, why: str) -> StoreError:
        told = f"results folder {self.path} cannot be {verb} ({why})"
        if verb == "read":
            return StoreError(f"{told}; check the path, the network and the credentials")
        remedy = "make room or choose another --out, then run the same command again"
        return StoreError(f"{told}; finished trials are safe: {remedy}")

    def remove(self, *parts: str) -> None:
        """Remove one of raysweep's own files, if it is there."""
        with self.reaching("written"), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.full(*parts))
