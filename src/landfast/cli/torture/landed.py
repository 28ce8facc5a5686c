"""What lies in a table, found by replaying its log: plain JSON and plain Parquet, and nothing of the engine, the sink or deltalake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from landfast.errors import check

pc: Any = pyarrow.compute

BATCH_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a table.

    appended  those that brought rows, in the order in which they were committed
    active    those that hold the rows today, after compaction
    """

    appended: tuple[Path, ...]
    active: tuple[Path, ...]


def contents(table: Path) -> Contents:
    """The files of the table in this folder; none where there is no table.

    Raises:
        Broken: the log has lost entries, so that nobody can tell what was committed in which order.
    """
    appended: list[Path] = []
    active: dict[Path, None] = {}
    entries = sorted((table / "_delta_log").glob("*.json"))
    for version, entry in enumerate(entries):
        check(int(entry.stem) == version, f"the log of the table begins at or skips to {entry.name}, so it cannot be judged")
        for line in entry.read_bytes().splitlines():
            action = json.loads(line)
            if "add" in action:
                path = table / unquote(action["add"]["path"])
                active[path] = None
                if action["add"]["dataChange"]:
                    appended.append(path)
            elif "remove" in action:
                active.pop(table / unquote(action["remove"]["path"]), None)
    return Contents(tuple(appended), tuple(active))


def batches(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of these files, a part at a time, in order."""
    for path in paths:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns))


def per_lane(batch: pa.RecordBatch, topic: str, partition: str) -> Iterator[tuple[tuple[str, int], pa.RecordBatch]]:
    """The rows of a batch by topic and partition, which these columns hold, in the order in which they lie there."""
    for name in pc.unique(batch.column(topic)).to_pylist():
        of_topic = batch.filter(pc.equal(batch.column(topic), pa.scalar(name)))
        for number in pc.unique(of_topic.column(partition)).to_pylist():
            yield (name, number), of_topic.filter(pc.equal(of_topic.column(partition), pa.scalar(number, pa.int32())))
