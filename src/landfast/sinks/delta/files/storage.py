"""Files of a table, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import IO, Protocol

from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.files.object_store import ObjectFiles
from landfast.sinks.delta.files.paths import local_path


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

    def put(self, name: str, content: bytes) -> bool:
        """Make a small file, if there is none of this name; whether it was made. As `put_entry`: whole or not at all, durable, for one."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""


def files_of(path: str, storage_options: Mapping[str, str], disk: Disk | None = None) -> Files:
    """The files below a table's path."""
    folder = local_path(path)
    disk = disk or Disk()
    return ObjectFiles(path, storage_options, disk.objects) if folder is None else LocalFiles(folder, disk)
