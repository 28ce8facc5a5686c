"""What lies in a table, found by replaying its log: plain JSON and plain Parquet, with nothing of the engine, the sink or deltalake.

Of deltalake only the client is used that reaches an object store; what lies there it is not asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from landfast.errors import check

pc: Any = pyarrow.compute

BATCH_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a table, by their names below its root.

    appended  those that brought rows, in the order in which they were committed
    active    those that hold the rows today, after compaction
    """

    appended: tuple[str, ...]
    active: tuple[str, ...]


def root(path: str, storage_options: Mapping[str, str]) -> FileSystem:
    """What lies below this path, in a local folder or in an object store."""
    if "://" not in path:
        return SubTreeFileSystem(path, LocalFileSystem())
    from deltalake.fs import DeltaStorageHandler

    # Only its client, which knows how to reach every kind of store.
    return PyFileSystem(DeltaStorageHandler(path, dict(storage_options)))


def contents(table: FileSystem) -> Contents:
    """The files of the table below this root; none where there is no table.

    Raises:
        Broken: the log has lost entries, so that nobody can tell what was committed in which order.
    """
    appended: list[str] = []
    active: dict[str, None] = {}
    for version, name in enumerate(_entries(table)):
        check(int(PurePosixPath(name).stem) == version, f"the log of the table begins at or skips to {name}, so it cannot be judged")
        with table.open_input_file(name) as entry:
            lines = entry.readall().splitlines()
        for line in lines:
            action = json.loads(line)
            if "add" in action:
                path = unquote(action["add"]["path"])
                active[path] = None
                if action["add"]["dataChange"]:
                    appended.append(path)
            elif "remove" in action:
                active.pop(unquote(action["remove"]["path"]), None)
    return Contents(tuple(appended), tuple(active))


def _entries(table: FileSystem) -> list[str]:
    found = table.get_file_info(FileSelector("_delta_log", allow_not_found=True))
    return sorted(file.path for file in found if file.path.endswith(".json"))


def batches(table: FileSystem, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of these files, a part at a time, in order."""
    for name in names:
        with pq.ParquetFile(name, filesystem=table, page_checksum_verification=True) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns))


def per_lane(batch: pa.RecordBatch, topic: str, partition: str) -> Iterator[tuple[tuple[str, int], pa.RecordBatch]]:
    """The rows of a batch by topic and partition, which these columns hold, in the order in which they lie there."""
    for name in pc.unique(batch.column(topic)).to_pylist():
        of_topic = batch.filter(pc.equal(batch.column(topic), pa.scalar(name)))
        for number in pc.unique(of_topic.column(partition)).to_pylist():
            yield (name, number), of_topic.filter(pc.equal(of_topic.column(partition), pa.scalar(number, pa.int32())))
