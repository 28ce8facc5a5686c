"""A small world for the tests of the Delta sink: real tables on disk, batches made of plain numbers."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from landfast.events import Event
from landfast.model import Batch, Chunk, Decoded, Run, Span, Stream
from landfast.sinks.delta import DeltaSettings, DeltaSink, TableHome, open_table
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.table.place import open_handle

NUMBERS = pa.schema([pa.field("number", pa.int64(), nullable=False), pa.field("text", pa.string())])


class QuickClock:
    """Real time, without the waiting."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0


@dataclass
class Ears:
    """An observer that remembers."""

    heard: list[Event] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        self.heard.append(event)


def stream(partition: int, topic: str = "events", incarnation: str = "topic-id-1") -> Stream:
    return Stream(topic, incarnation, partition)


def run(name: str = "numbers", run_id: str = "run-1") -> Run:
    return Run(run_id, name, "digest", 0.0)


def chunk_of(lane: Stream, offsets: Sequence[int], end: int, timestamps: Sequence[int] | None = None) -> Chunk:
    values = [str(offset).encode() for offset in offsets]
    times = array("q", timestamps if timestamps is not None else [1_700_000_000_000 + offset for offset in offsets])
    start = offsets[0] if offsets else end
    return Chunk(lane, 1, start, end, values, [None] * len(values), None, array("q", offsets), times, sum(map(len, values)))


def decoded_of(lane: Stream, start: int, end: int, schema: pa.Schema = NUMBERS, rows: Mapping[str, Any] | None = None) -> Decoded:
    offsets = list(range(start, end))
    columns = rows or {"number": offsets, "text": [f"text {offset}" for offset in offsets]}
    return Decoded(chunk_of(lane, offsets, end), pa.table(columns, schema=schema))


def batch_of(*decoded: Decoded, first: bool = False) -> Batch:
    spans = tuple(
        Span(one.chunk.stream, one.chunk.start, one.chunk.end, len(one.chunk), one.rows.num_rows, 0, {}, "digest", first)
        if one.rows.num_rows == len(one.chunk)
        else Span(
            one.chunk.stream,
            one.chunk.start,
            one.chunk.end,
            len(one.chunk),
            one.rows.num_rows,
            0,
            {"tombstone": len(one.chunk) - one.rows.num_rows},
            "digest",
            first,
        )
        for one in decoded
    )
    return Batch(1, spans, {span.stream: 1 for span in spans}, decoded)


@dataclass
class DeltaWorld:
    """One table's path and how to open it."""

    path: str
    schema: pa.Schema = NUMBERS
    settings: DeltaSettings = field(default_factory=lambda: DeltaSettings(path=""))
    ears: Ears = field(default_factory=Ears)
    disk: Disk = field(default_factory=Disk)
    opener: Callable[[DeltaSettings], DeltaTable] = open_handle
    clock: QuickClock = field(default_factory=QuickClock)

    def home(self, run_id: str = "run-1", name: str = "numbers", **changes: Any) -> TableHome:
        settings = replace(self.settings, path=self.path, **changes)
        return open_table(settings, run(name, run_id), self.schema, self.clock, self.ears, disk=self.disk, opener=self.opener)

    def sink(self, run_id: str = "run-1", **changes: Any) -> DeltaSink:
        return DeltaSink(self.home(run_id, **changes))

    def batch(self, lane: Stream, start: int, end: int, *, first: bool = False) -> Batch:
        return batch_of(decoded_of(lane, start, end, self.schema), first=first)

    def home_files(self) -> Files:
        return files_of(self.path, {})

    def landed(self) -> list[tuple[str, int, int]]:
        rows = DeltaTable(self.path).to_pyarrow_table(columns=["_topic", "_partition", "_offset"]).to_pylist()
        return sorted((row["_topic"], row["_partition"], row["_offset"]) for row in rows)


def world_at(folder: Path) -> DeltaWorld:
    return DeltaWorld(str(folder / "table"))
