"""Read and write the files of a results folder, on any path that fsspec supports."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator

import fsspec
from fsspec.registry import known_implementations

from raysweep.errors import StoreError

LARGEST_FILE = 2**23
"""The most bytes of a file that is read whole; a space has at most 2**20 characters of 1 - 4."""

SPACE = "space.yaml"  # a folder holds a sweep if this file is in it


def replace_file(target: str, content: bytes) -> None:
    """Write a file on a disk completely or not at all. A link in its place is replaced.

    Raises:
        OSError: the file cannot be written; what was there is unchanged.

    """
    with _temporary_file(target, content) as temporary:
        os.replace(temporary, target)


@contextlib.contextmanager
def _temporary_file(target: str, content: bytes) -> Iterator[str]:
    """Write ``content`` into a temporary file in the folder of ``target``; yield its path.

    Remove it if an error follows. The leading dot hides it from programs that read the folder as
    one Parquet data set.
    """
    folder, _, name = target.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def _create(target: str, content: bytes) -> bool:
    """Create a file that does not exist yet; return whether by a hard link.

    Of a hard link no reader sees a half. On file systems without them (FAT, some in user space) a
    reader may see an empty file for a moment, and another writer may replace it.
    """
    with _temporary_file(target, content) as temporary:
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            with open(target, "xb") as file:
                file.write(content)
            os.remove(temporary)
            return False
        os.remove(temporary)
        return True


def require_file(path: str) -> None:
    """Raise :class:`StoreError` for what is no file: to open a pipe or a device may last for ever.

    Raises:
        StoreError: there is a folder, a pipe, a socket or a device, or a link to one.
        OSError: there is nothing, or it cannot be reached.

    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreError(f"{path} is not a file", remedy="remove it: raysweep did not write it")


class FileGone(StoreError):
    """A file was removed after it had been listed, because a sweep merged it meanwhile."""


class Folder:
    """The files of one results folder: local, NFS, s3://, gs://."""

    def __init__(self, path: str) -> None:
        self.path = str(path).rstrip("/") or str(path)
        if "::" in self.path and "://" not in self.path:  # fsspec would read a chain of systems
            self.path = os.path.abspath(self.path)
            self.fs, self._root = fsspec.filesystem("file"), self.path
            self.is_local = True
            return
        scheme, sign, rest = self.path.partition(":/")
        if sign and not rest.startswith("/") and scheme in known_implementations:
            remedy = f"write {scheme}://{rest}, or ./{self.path} for a folder here"
            raise StoreError(f"{self.path} has one slash after {scheme}:", remedy=remedy)
        try:
            self.fs, self._root = fsspec.core.url_to_fs(self.path, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"results folder {self.path!r}: {error}",
                remedy="write a local path, or install the file system "
                "(pip install 'raysweep[s3]')",
            ) from None

        protocol = self.fs.protocol
        self.is_local = "file" in (protocol if isinstance(protocol, tuple) else (protocol,))

    def full(self, *parts: str) -> str:
        """Return the path of a file inside the folder, as its file system names it."""
        return "/".join([self._root, *parts])

    def exists(self, *parts: str) -> bool:
        """Return whether the folder holds a file."""
        with self.translate_errors("read"):
            return bool(self.fs.exists(self.full(*parts)))

    def require(self) -> None:
        """Raise :class:`StoreError` unless the folder exists and holds a sweep.

        An unmounted share leaves an empty folder in its place, and records written there are lost
        when the share is mounted again.
        """
        if not self.exists(SPACE):
            raise self._unreachable("written", f"it is gone: it holds no {SPACE}")

    def read_bytes(self, *parts: str) -> bytes:
        """Return the content of a file of at most LARGEST_FILE bytes.

        Raises:
            FileNotFoundError: the file does not exist.
            StoreError: the folder cannot be reached, or it is no file or a larger one.

        """
        name = self.full(*parts)
        with self.translate_errors("read"):
            try:
                if self.is_local:
                    require_file(name)
                content = bytes(self.fs.cat_file(name, end=LARGEST_FILE + 1))
            except FileNotFoundError as error:
                missing = error
            except NotADirectoryError as error:  # the folder is a file
                missing = FileNotFoundError(str(error))
            else:
                if len(content) > LARGEST_FILE:
                    rule = f"{name} has more than {LARGEST_FILE:,} bytes"
                    raise StoreError(rule, remedy="raysweep did not write it: remove it")
                return content
        raise missing

    def write_bytes(self, content: bytes, *parts: str) -> None:
        """Write a file completely or not at all: a rename on disks, one PUT on object stores.

        Raises:
            StoreError: the folder is read-only, full or gone; its files are unchanged.

        """
        target = self.full(*parts)
        with self.translate_errors("written"):
            if not self.is_local:
                self.fs.pipe_file(target, content)
                return

            self.refuse_link(*parts[:-1])
            folder = target.rpartition("/")[0]
            if not os.path.isdir(folder):
                if parts == (SPACE,):  # only a new sweep creates its folder
                    os.makedirs(folder)
                else:
                    os.mkdir(folder)
            replace_file(target, content)

    def create_bytes(self, content: bytes, *parts: str) -> bool:
        """Write a file that does not exist; return whether it is sure that no other driver did.

        Of two drivers only one succeeds, on a disk and on an object store with conditional writes
        (S3 and GCS have them). That is sure on a disk with hard links.

        Raises:
            FileExistsError: the file exists.
            StoreError: the folder is read-only, full or gone.

        """
        target = self.full(*parts)
        with self.translate_errors("written"):
            try:
                if self.is_local:
                    self.refuse_link(*parts[:-1])
                    os.makedirs(target.rpartition("/")[0], exist_ok=True)
                    return _create(target, content)
                if not self.fs.exists(target):
                    self.fs.pipe_file(target, content, mode="create")
                    return False
            except FileExistsError:
                pass
        raise FileExistsError(target)

    def refuse_link(self, *parts: str) -> None:
        """Raise :class:`StoreError` if a folder inside this one is a link.

        A folder from somebody else may hold a link to one of yours, and files written or removed
        through it would be yours. A link to the results folder itself is fine.
        """
        for end in range(1, len(parts) + 1):
            path = self.full(*parts[:end])
            if self.is_local and os.path.islink(path):
                raise StoreError(
                    f"{path} is a link to {os.readlink(path)}, and raysweep writes through no link",
                    remedy="remove the link, or copy what it leads to in its place",
                )

    @contextlib.contextmanager
    def translate_errors(self, verb: str) -> Iterator[None]:
        """Turn the errors of a file system into :class:`StoreError`; ``verb`` is read or written.

        Each file system raises exceptions of its own. On a disk, an exception other than an
        ``OSError`` is a mistake of the program and passes through.
        """
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if self.is_local and not isinstance(error, OSError):
                raise

            reason = (error.strerror if isinstance(error, OSError) else None) or error
            problem = self._unreachable(verb, str(reason))
            is_gone = isinstance(error, FileNotFoundError)
            raise (FileGone(str(problem)) if is_gone else problem) from error

    def _unreachable(self, verb: str, why: str) -> StoreError:
        problem = f"results folder {self.path} cannot be {verb} ({why})"
        if self.is_local and os.path.isfile(self.full()):
            return StoreError(f"{self.path} is a file, not a folder", remedy="give another --out")
        if verb == "read":
            return StoreError(problem, remedy="check the path, the network and the credentials")
        return StoreError(
            f"{problem}; finished trials are safe",
            remedy="make room or choose another --out, then run the same command again",
        )

    def remove(self, *parts: str) -> None:
        """Remove a file that raysweep wrote, if it exists."""
        with self.translate_errors("written"), contextlib.suppress(FileNotFoundError):
            self.refuse_link(*parts[:-1])
            self.fs.rm_file(self.full(*parts))
