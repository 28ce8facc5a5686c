"""Files of a table, local or in an object store, and the moment at which they are durable.

deltalake never calls fsync. So what a commit stands on is made durable here, in this order: data file, its folder, (the commit), log
entry, log folder.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, cast
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import AlreadyExistsError

from landfast.errors import Broken
from landfast.sinks.delta.object_store import StoredObject, open_store

LOG = "_delta_log"
PROBE = "_landfast_probe-"
_DRAFT_END = ".landfast.tmp"
PIECE_BYTES = 8 * 1024 * 1024
"""A larger object is uploaded in pieces of this size."""
PIECES_AT_ONCE = 4


def log_name(version: int) -> str:
    """The name of a log entry, relative to the table's root."""
    return f"{LOG}/{version:020d}.json"


def _draft_name(version: int) -> str:
    """A new name for a log entry that nobody is to see yet: the leading dot hides it from readers."""
    return f"{LOG}/.{version:020d}.{uuid.uuid4().hex}{_DRAFT_END}"


def drafts_among(names: Iterable[str]) -> list[str]:
    """The drafts among the names in a log's folder, relative to the table's root: a killed process leaves one behind."""
    return [f"{LOG}/{name}" for name in names if name.startswith(".") and name.endswith(_DRAFT_END)]


def probe_name() -> str:
    """A new name for a file that is written only to see whether it can be."""
    return f"{PROBE}{uuid.uuid4().hex}"


class Disk:
    """The acts that make local bytes durable, and that give them a name which nobody else has taken."""

    def sync_file(self, path: Path) -> None:
        """Return when the file's content is on stable storage."""
        _fsync(path)

    def sync_folder(self, path: Path) -> None:
        """Return when the folder's entries are on stable storage."""
        _fsync(path)

    def link(self, path: Path, name: Path) -> None:
        """Give the file a second name, in one act. Raises FileExistsError where the name is taken."""
        os.link(path, name)

    def remove(self, path: Path) -> None:
        """Remove a file; nothing happens where there is none."""
        path.unlink(missing_ok=True)

    def rename(self, path: Path, name: Path) -> None:
        """Give the file another name, in one act, whoever has it."""
        path.replace(name)


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
        """A new file to write. It is durable, and its folders with it, when the block ends without an exception."""

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

    def sync_root(self) -> None:
        """Make the root and the folders above it durable, whoever made them: a table is not there without the name of its folder."""

    def sync_log(self, versions: Iterable[int]) -> None:
        """Make these log entries durable, then the folder that names them. Entries that are gone are left out."""

    def put_entry(self, version: int, content: bytes) -> bool:
        """Make the log entry of a version, unless there is one; whether it was made.

        It appears whole or not at all, to one of those who try at once, and is durable when this returns True. When it raises, it may
        have appeared, or may yet.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Make a small file, if there is none of this name; whether it was made. For probes: it is not made durable."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""


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
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            yield stream
        self._disk.sync_file(path)
        # Up to the root, whoever made the folders: another writer may have made one a moment ago and not made it durable yet.
        for folder in Path(name).parents:
            self._disk.sync_folder(self._root / folder)

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
        path = folder / probe_name()
        try:
            path.write_bytes(b"probe")
            self._disk.sync_file(path)
        finally:
            path.unlink(missing_ok=True)

    def sync_root(self) -> None:
        """See `Files.sync_root`."""
        device = self._root.stat().st_dev
        for folder in (self._root, *self._root.parents):
            # What was made for the table lies on its own file system, in folders that whoever made it may open.
            if folder.stat().st_dev != device or not os.access(folder, os.R_OK):
                return
            self._disk.sync_folder(folder)

    def sync_log(self, versions: Iterable[int]) -> None:
        """See `Files.sync_log`."""
        for version in versions:
            path = self._root / log_name(version)
            if path.exists():
                self._disk.sync_file(path)
        self._disk.sync_folder(self._root / LOG)

    def put_entry(self, version: int, content: bytes) -> bool:
        """See `Files.put_entry`. Its content is durable before anybody sees it: a power cut leaves no entry that is empty or torn."""
        draft = self._root / _draft_name(version)
        try:
            draft.write_bytes(content)
            self._disk.sync_file(draft)
            self._disk.link(draft, self._root / log_name(version))
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        self._disk.sync_folder(self._root / LOG)
        return True

    def create(self, name: str, content: bytes) -> bool:
        """See `Files.create`."""
        try:
            with (self._root / name).open("xb") as stream:
                stream.write(content)
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """See `Files.remove`."""
        self._disk.remove(self._root / name)


class ObjectFiles:
    """Files in an object store. Other threads run while it waits."""

    local = False

    def __init__(self, uri: str, storage_options: Mapping[str, str]) -> None:
        self._store = open_store(uri, storage_options)

    @contextmanager
    def output(self, name: str) -> Iterator[IO[bytes]]:
        """See `Files.output`. The object appears whole at the end or not at all."""
        buffer = io.BytesIO()
        yield buffer
        with buffer.getbuffer() as content:
            obstore.put(self._store, name, content, chunk_size=PIECE_BYTES, max_concurrency=PIECES_AT_ONCE)

    def read(self, name: str) -> bytes | None:
        """See `Files.read`."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See `Files.open`."""
        return cast("IO[bytes]", StoredObject(self._store, name))

    def size(self, name: str) -> int | None:
        """See `Files.size`."""
        try:
            return obstore.head(self._store, name)["size"]
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """See `Files.names`."""
        found = obstore.list_with_delimiter(self._store, folder)
        paths = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        return sorted({path.rpartition("/")[2] for path in paths} - {""})

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Files.sizes`."""
        found = obstore.list_with_delimiter(self._store, folder)["objects"]
        return {item["path"].rpartition("/")[2]: item["size"] for item in found}

    def probe(self) -> None:
        """See `Files.probe`."""
        name = probe_name()
        with self.output(name) as stream:
            stream.write(b"probe")
        self.remove(name)

    def put_entry(self, version: int, content: bytes) -> bool:
        """See `Files.put_entry`."""
        return self.create(log_name(version), content)

    def create(self, name: str, content: bytes) -> bool:
        """See `Files.create`."""
        try:
            obstore.put(self._store, name, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def sync_root(self) -> None:
        """Nothing: a store has no folders."""

    def sync_log(self, versions: Iterable[int]) -> None:
        """Nothing: an object that the store has acknowledged is durable."""

    def remove(self, name: str) -> None:
        """See `Files.remove`."""
        with suppress(FileNotFoundError):
            obstore.delete(self._store, name)


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
