"""Files of a table, local or in an object store, and the moment at which they are durable.

deltalake never calls fsync. So what a commit stands on is made durable here, in this order: data file, its folder, (the commit), log
entry, log folder.
"""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import unquote, urlparse

import pyarrow as pa
from deltalake._internal import DeltaFileSystemHandler  # its public subclass cannot write under pyarrow 26

from landfast.errors import Broken

LOG = "_delta_log"
PROBE = "_landfast_probe-"
WRITE_BYTES_MAX = 8 * 1024 * 1024


def log_name(version: int) -> str:
    """The name of a log entry, relative to the table's root."""
    return f"{LOG}/{version:020d}.json"


class Disk:
    """The two acts that make local bytes durable."""

    def sync_file(self, path: Path) -> None:
        """Return when the file's content is on stable storage."""
        _fsync(path)

    def sync_folder(self, path: Path) -> None:
        """Return when the folder's entries are on stable storage."""
        _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # After a failed fsync the kernel may have dropped the pages: a second fsync would succeed and mean nothing.
        message = f"fsync failed with errno {error.errno} on a file of the table"
        raise Broken("FSYNC_FAILED", message, next_step="Check the disk, then start again: the table's own position decides.") from error
    finally:
        os.close(descriptor)


class Files(Protocol):
    """Files below a table's root, by relative name with `/`. Raises what the driver raises; callers map it."""

    local: bool
    """Whether the files lie on a local disk, where durability takes an fsync."""

    def output(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A new file to write. It is durable, and its folder with it, when the block ends without an exception."""

    def read(self, name: str) -> bytes | None:
        """The whole file, or None where there is none."""

    def open(self, name: str) -> IO[bytes]:
        """The file for reading, seekable."""

    def size(self, name: str) -> int | None:
        """Bytes stored, or None where there is no such file."""

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders directly in a folder (`""` is the root), sorted; empty where there is no such folder."""

    def sizes(self, folder: str) -> dict[str, int]:
        """The files directly in a folder with their bytes; empty where there is no such folder."""

    def probe(self) -> None:
        """Write a small file below the root, or where the root would be made, and remove it. Raises where that is not possible."""

    def sync_log(self, versions: Iterable[int]) -> None:
        """Make these log entries durable, then the folder that names them. Entries that are gone are left out."""

    def remove_folder(self, name: str) -> None:
        """Remove a folder with all that is in it; nothing happens where there is none."""


class LocalFiles:
    """Files on a local disk."""

    local = True

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._disk = disk

    @contextmanager
    def output(self, name: str) -> Iterator[IO[bytes]]:
        """See `Files.output`."""
        path = self._root / name
        self._make_folder(path.parent)
        with path.open("xb") as stream:
            yield stream
        self._disk.sync_file(path)
        self._disk.sync_folder(path.parent)

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._disk.sync_folder(folder.parent)

    def read(self, name: str) -> bytes | None:
        """See `Files.read`."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See `Files.open`."""
        return (self._root / name).open("rb")

    def size(self, name: str) -> int | None:
        """See `Files.size`."""
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """See `Files.names`."""
        try:
            return sorted(path.name for path in (self._root / folder).iterdir())
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Files.sizes`."""
        try:
            return {entry.name: entry.stat().st_size for entry in os.scandir(self._root / folder) if entry.is_file()}
        except FileNotFoundError:
            return {}

    def probe(self) -> None:
        """See `Files.probe`."""
        folder = self._root
        while not folder.exists():
            folder = folder.parent
        path = folder / f"{PROBE}{uuid.uuid4().hex}"
        try:
            path.write_bytes(b"probe")
            self._disk.sync_file(path)
        finally:
            path.unlink(missing_ok=True)

    def sync_log(self, versions: Iterable[int]) -> None:
        """See `Files.sync_log`."""
        for version in versions:
            path = self._root / log_name(version)
            if path.exists():
                self._disk.sync_file(path)
        self._disk.sync_folder(self._root / LOG)

    def remove_folder(self, name: str) -> None:
        """See `Files.remove_folder`."""
        shutil.rmtree(self._root / name, ignore_errors=True)


class ObjectFiles:
    """Files in an object store, through deltalake's own client, so that the same options reach both."""

    local = False

    def __init__(self, uri: str, storage_options: Mapping[str, str]) -> None:
        self._store = DeltaFileSystemHandler(uri, dict(storage_options))

    @contextmanager
    def output(self, name: str) -> Iterator[IO[bytes]]:
        """See `Files.output`. The object appears whole at the end or not at all."""
        buffer = io.BytesIO()
        yield buffer
        stream: Any = self._store.open_output_stream(name, None)
        with buffer.getbuffer() as view:
            for start in range(0, len(view), WRITE_BYTES_MAX):
                stream.write(bytes(view[start : start + WRITE_BYTES_MAX]))
        stream.close()

    def read(self, name: str) -> bytes | None:
        """See `Files.read`."""
        try:
            stream = self._store.open_input_file(name)
        except FileNotFoundError:
            return None
        return bytes(stream.read(stream.size()))

    def open(self, name: str) -> IO[bytes]:
        """See `Files.open`."""
        # deltalake's own file cannot be used in a `with`, and pyarrow's can.
        return cast("IO[bytes]", pa.PythonFile(cast("Any", self._store.open_input_file(name)), mode="r"))

    def size(self, name: str) -> int | None:
        """See `Files.size`."""
        size: Any = self._store.get_file_info([name])[0].size
        return None if size is None else int(size)

    def names(self, folder: str) -> list[str]:
        """See `Files.names`."""
        prefix = f"{folder}/" if folder else ""
        found = self._store.get_file_info_selector(folder, allow_not_found=True, recursive=False)
        return sorted({info.path.removeprefix(prefix).split("/")[0] for info in found})

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Files.sizes`."""
        prefix = f"{folder}/" if folder else ""
        found = self._store.get_file_info_selector(folder, allow_not_found=True, recursive=False)
        return {info.path.removeprefix(prefix): int(info.size) for info in found if info.is_file}

    def probe(self) -> None:
        """See `Files.probe`."""
        name = f"{PROBE}{uuid.uuid4().hex}"
        with self.output(name) as stream:
            stream.write(b"probe")
        self._store.delete_file(name)

    def sync_log(self, versions: Iterable[int]) -> None:
        """Nothing: an object that the store has acknowledged is durable."""

    def remove_folder(self, name: str) -> None:
        """See `Files.remove_folder`."""
        for info in self._store.get_file_info_selector(name, allow_not_found=True, recursive=True):
            if info.is_file:
                self._store.delete_file(info.path)


def local_path(path: str) -> Path | None:
    """The local folder that a path or `file:` URI names; None for an object store."""
    if "://" not in path:
        return Path(path).absolute()
    parsed = urlparse(path)
    return Path(unquote(parsed.path)) if parsed.scheme == "file" else None


def files_of(path: str, storage_options: Mapping[str, str], disk: Disk | None = None) -> Files:
    """The files below a table's path."""
    folder = local_path(path)
    return ObjectFiles(path, storage_options) if folder is None else LocalFiles(folder, disk or Disk())
