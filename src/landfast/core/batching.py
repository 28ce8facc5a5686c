"""When a batch is full, and how chunks are cut and joined: pure functions over columns."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from landfast.model import Chunk, Headers, Position

RECORD_OVERHEAD_BYTES = 80
"""What CPython adds to a record in columns: the header of a bytes object, two references, an offset and a time."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is cut at whichever comes first: so many records, so many bytes, or so many seconds after its first record."""

    records_max: int = 500_000
    bytes_max: int = 128 * 1024 * 1024
    seconds_max: float = 5.0


def full(limits: BatchLimits, records: int, nbytes: int) -> bool:
    """Whether what waits fills a batch by size."""
    return records >= limits.records_max or nbytes >= limits.bytes_max


def part(chunk: Chunk, start: int, stop: int) -> Chunk:
    """The records with index `start` to `stop` of a chunk; parts of a chunk tile it."""
    first = chunk.start if start == 0 else chunk.offsets[start]
    end = chunk.end if stop >= len(chunk) else chunk.offsets[stop]
    values, keys = chunk.values[start:stop], chunk.keys[start:stop]
    headers = None if chunk.headers is None else chunk.headers[start:stop]
    offsets, timestamps = chunk.offsets[start:stop], chunk.timestamps[start:stop]
    nbytes = size_of(values, keys, headers)
    return Chunk(chunk.stream, chunk.epoch, first, end, values, keys, headers, offsets, timestamps, nbytes)


def below(chunk: Chunk, end: Position) -> Chunk:
    """The part of a chunk below `end`, where a bounded run stops."""
    if chunk.end <= end:
        return chunk
    return replace(part(chunk, 0, bisect_left(chunk.offsets, end)), end=max(end, chunk.start))


def without(chunk: Chunk, offsets: Collection[int]) -> Chunk:
    """The chunk without the records at these offsets; its range stays."""
    kept = [index for index, offset in enumerate(chunk.offsets) if offset not in offsets]
    if len(kept) == len(chunk):
        return chunk
    return replace(
        chunk,
        values=[chunk.values[index] for index in kept],
        keys=[chunk.keys[index] for index in kept],
        headers=None if chunk.headers is None else [chunk.headers[index] for index in kept],
        offsets=array("q", [chunk.offsets[index] for index in kept]),
        timestamps=array("q", [chunk.timestamps[index] for index in kept]),
    )


def bare(chunk: Chunk) -> Chunk:
    """The chunk with the places and times of its records, and without the records."""
    return Chunk(chunk.stream, chunk.epoch, chunk.start, chunk.end, (), (), None, chunk.offsets, chunk.timestamps, nbytes=0)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """The same records in one chunk; `chunks` are neighbours, and at least one."""
    if len(chunks) == 1:
        return chunks[0]
    values: list[bytes | None] = []
    keys: list[bytes | None] = []
    offsets, timestamps = array("q"), array("q")
    headers: list[Headers] | None = None if all(chunk.headers is None for chunk in chunks) else []
    for chunk in chunks:
        values.extend(chunk.values)
        keys.extend(chunk.keys)
        offsets.extend(chunk.offsets)
        timestamps.extend(chunk.timestamps)
        if headers is not None:
            headers.extend(chunk.headers if chunk.headers is not None else [()] * len(chunk))
    first, nbytes = chunks[0], sum(chunk.nbytes for chunk in chunks)
    return Chunk(first.stream, first.epoch, first.start, chunks[-1].end, values, keys, headers, offsets, timestamps, nbytes)


def size_of(values: Iterable[bytes | None], keys: Iterable[bytes | None], headers: Iterable[Headers] | None) -> int:
    """Bytes of values, keys and headers: what `Chunk.nbytes` holds."""
    size = sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys)))
    for pairs in headers or ():
        size += sum(len(name) + len(value or b"") for name, value in pairs)
    return size
