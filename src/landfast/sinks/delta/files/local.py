"""Files of a table on a local disk, and the moment at which they are durable.

deltalake never calls fsync. So what a commit stands on is made durable here, in this order: data file, its folder, (the commit), log
entry, log folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from landfast.errors import Broken
from landfast.sinks.delta.files.names import LOG, draft_name, draft_of, log_name, probe_name
from landfast.sinks.delta.files.object_store import Objects


class Disk:
    """The acts that make local bytes durable, and that give them a name which nobody else has taken.

    `objects` has what comes in their place where the table lies in a store.
    """

    objects: Objects = Objects()

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
            return sorted(entry.name for entry in os.scandir(self._root / folder))
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Files.sizes`."""
        try:
            entries = list(os.scandir(self._root / folder))
        except FileNotFoundError:
            return {}
        found: dict[str, int] = {}
        for entry in entries:
            # A draft of another writer, say, is gone at any moment.
            with suppress(FileNotFoundError):
                if entry.is_file():
                    found[entry.name] = entry.stat().st_size
        return found

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
        made = self._put(draft_name(version), log_name(version), content)
        if made:
            self._disk.sync_folder(self._root / LOG)
        return made

    def put(self, name: str, content: bytes) -> bool:
        """See `Files.put`."""
        (self._root / name).parent.mkdir(parents=True, exist_ok=True)
        made = self._put(draft_of(name), name, content)
        # Also where another made it: it may not be durable yet.
        for folder in Path(name).parents:
            self._disk.sync_folder(self._root / folder)
        return made

    def _put(self, draft_path: str, name: str, content: bytes) -> bool:
        draft = self._root / draft_path
        try:
            draft.write_bytes(content)
            self._disk.sync_file(draft)
            self._disk.link(draft, self._root / name)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def remove(self, name: str) -> None:
        """See `Files.remove`."""
        self._disk.remove(self._root / name)
