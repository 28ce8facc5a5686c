"""A small table with spans, dead letters and skips, and the means to damage it: for the tests of proof and upkeep."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.core.verify import digest
from landfast.model import Batch, Decoded, Letter, Reject, Span, Stream
from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
from landfast.sinks.delta.log.active import active_files
from tests.sinks.delta_world import NUMBERS, DeltaWorld, chunk_of, stream

LANE = stream(0)
OTHER = stream(1)


def made(
    lane: Stream,
    offsets: Collection[int],
    end: int,
    *,
    start: int | None = None,
    dead: Collection[int] = (),
    skipped: Collection[int] = (),
    first: bool = False,
) -> tuple[Span, Decoded]:
    """A span over these offsets, of which some are dead and some skipped; the rest are rows."""
    ordered = sorted(offsets)
    chunk = chunk_of(lane, ordered, end)
    chunk = chunk if start is None else replace(chunk, start=start)
    kept = [index for index, offset in enumerate(ordered) if offset not in dead and offset not in skipped]
    rows = pa.table({"number": [ordered[i] for i in kept], "text": [f"text {ordered[i]}" for i in kept]}, schema=NUMBERS)
    rejects = tuple(Reject(index, "bad", "bad") for index, offset in enumerate(ordered) if offset in dead)
    skips = {"tombstone": [index for index, offset in enumerate(ordered) if offset in skipped]} if skipped else {}
    span = Span(
        stream=lane,
        start=chunk.start,
        end=end,
        read=len(ordered),
        written=len(kept),
        dead=len(dead),
        skipped={reason: len(indices) for reason, indices in skips.items()},
        digest=digest([chunk]),
        first=first,
    )
    return span, Decoded(chunk, rows, kept, rejects, skips)


def land(sink: DeltaSink, *parts: tuple[Span, Decoded]) -> None:
    """Land these parts in one commit."""
    spans = tuple(span for span, _ in parts)
    sink.commit([sink.stage(Batch(1, spans, {span.stream: 1 for span in spans}, tuple(decoded for _, decoded in parts)))])


def letter(lane: Stream, offset: int) -> Letter:
    """A dead letter as small as can be."""
    return Letter(lane, offset, 1_700_000_000_000, None, str(offset).encode(), (), "decode", "bad", "bad", 1, 1_700_000_000.0)


def bury(world: DeltaWorld, *letters: Letter) -> None:
    """Claim and bury."""
    store = DeltaDeadLetters(world.home())
    store.claim({one.stream for one in letters})
    store.put(letters)
    store.close()


def proved_table(world: DeltaWorld) -> DeltaSink:
    """Four commits: two streams, dead letters at 3 and 150, skips, a gap in the log, and a batch without a row."""
    sink = world.sink()
    bury(world, letter(LANE, 3), letter(OTHER, 150))
    land(sink, made(LANE, range(10), 10, dead={3}, first=True), made(OTHER, range(100, 160), 160, dead={150}, first=True))
    land(sink, made(LANE, range(10, 20), 25, skipped={12, 13}))
    land(sink, made(OTHER, range(160, 260), 260))
    land(sink, made(LANE, [25, 27, 29], 40), made(OTHER, [], 300, start=260))
    return sink


def files_with(world: DeltaWorld, offset: int, lane: Stream = LANE) -> list[str]:
    """The active files that hold a row with this offset of the lane."""
    found = []
    for file in active_files(DeltaTable(world.path)):
        rows = pq.read_table(Path(world.path) / file.path, columns=["_partition", "_offset"]).to_pylist()
        if {"_partition": lane.partition, "_offset": offset} in rows:
            found.append(file.path)
    return found


def edit_record(world: DeltaWorld, version: int, old: str, new: str) -> None:
    """Edit a commit's record in place, as somebody with an editor would."""
    path = Path(world.path) / "_delta_log" / f"{version:020d}.json"
    lines = path.read_text().splitlines()
    for index, line in enumerate(lines):
        entry = json.loads(line)
        if "commitInfo" in entry:
            assert old in entry["commitInfo"]["landfast"]
            entry["commitInfo"]["landfast"] = entry["commitInfo"]["landfast"].replace(old, new)
            lines[index] = json.dumps(entry)
    path.write_text("\n".join(lines) + "\n")
