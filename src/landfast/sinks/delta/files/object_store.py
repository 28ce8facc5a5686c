"""Files of a table in an object store, where an object is durable once the store has acknowledged it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from landfast.sinks.delta.files.names import log_name, probe_name
from landfast.sinks.delta.files.store_client import open_store

PIECE_BYTES = 8 * 1024 * 1024
"""A larger object is uploaded in pieces of this size."""
PIECES_AT_ONCE = 4


class Objects:
    """The acts that change what a store holds: what is acknowledged is durable, and has its name."""

    def put(self, store: ObjectStore, name: str, content: memoryview) -> None:
        """Store an object, whoever has its name."""
        obstore.put(store, name, content, chunk_size=PIECE_BYTES, max_concurrency=PIECES_AT_ONCE)

    def create(self, store: ObjectStore, name: str, content: bytes) -> bool:
        """Store an object if there is none of this name; whether it was stored."""
        try:
            obstore.put(store, name, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def remove(self, store: ObjectStore, name: str) -> None:
        """Remove an object; nothing happens where there is none."""
        with suppress(FileNotFoundError):
            obstore.delete(store, name)


class ObjectFiles:
    """Files in an object store. Other threads run while it waits."""

    local = False

    def __init__(self, uri: str, storage_options: Mapping[str, str], objects: Objects | None = None) -> None:
        self._store = open_store(uri, storage_options)
        self._objects = objects or Objects()

    @contextmanager
    def output(self, name: str) -> Iterator[IO[bytes]]:
        """See `Files.output`. The object appears whole at the end or not at all."""
        buffer = io.BytesIO()
        yield buffer
        with buffer.getbuffer() as content:
            self._objects.put(self._store, name, content)

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
        return self.put(log_name(version), content)

    def put(self, name: str, content: bytes) -> bool:
        """See `Files.put`."""
        return self._objects.create(self._store, name, content)

    def sync_root(self) -> None:
        """Nothing: a store has no folders."""

    def sync_log(self, versions: Iterable[int]) -> None:
        """Nothing: an object that the store has acknowledged is durable."""

    def remove(self, name: str) -> None:
        """See `Files.remove`."""
        self._objects.remove(self._store, name)


class StoredObject(io.RawIOBase):
    """An object opened for reading: each read is one request for just those bytes."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        super().__init__()
        self._store = store
        self._name = name
        self._size = obstore.head(store, name)["size"]
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase.readinto`. Fills the buffer unless the object ends before."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._size - self._position)
        if count <= 0:
            return 0
        view[:count] = memoryview(obstore.get_range(self._store, self._name, start=self._position, length=count))
        self._position += count
        return count
