"""The simplest rows and the simplest decoder: enough to run the whole engine without a columnar library."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from landfast.model import Chunk, Decoded, Reject, Rows, Stream
from landfast.ports import Decoder


@dataclass(frozen=True, slots=True)
class ListRows:
    """Rows as a tuple of values."""

    items: tuple[object, ...]

    @property
    def num_rows(self) -> int:
        """How many rows."""
        return len(self.items)

    @property
    def nbytes(self) -> int:
        """Bytes of the values that are bytes; 8 for each other."""
        return sum(len(item) if isinstance(item, bytes) else 8 for item in self.items)

    def slice(self, offset: int, length: int) -> ListRows:
        """So many of them, from one on."""
        return ListRows(self.items[offset : offset + length])


@dataclass(frozen=True, slots=True)
class LandedRow:
    """A row with the coordinates of the record it was made of."""

    stream: Stream
    offset: int
    row: object


class LineDecoder:
    """Each value is a row as it is, except that `bad…` is rejected as `bad_line` and null is skipped as `tombstone`."""

    rejected: tuple[bytes, ...] = (b"bad",)
    """How a value begins that is rejected."""

    def decode(self, chunk: Chunk) -> Decoded:
        """Rows, rejects and skips of one chunk."""
        kept: list[int] = []
        rejects: list[Reject] = []
        tombstones: list[int] = []
        for index, value in enumerate(chunk.values):
            if value is None:
                tombstones.append(index)
            elif value.startswith(self.rejected):
                rejects.append(Reject(index, "bad_line", "the line begins with bad"))
            else:
                kept.append(index)
        rows = ListRows(tuple(chunk.values[index] for index in kept))
        skips = {"tombstone": tombstones} if tombstones else {}
        return Decoded(chunk, rows, kept, tuple(rejects), skips)


class CountingDecoder:
    """Another decoder that counts what passes through it: how often work was done, and done again."""

    def __init__(self, decoder: Decoder) -> None:
        self.chunks = 0
        self.records = 0
        self._decoder = decoder
        self._lock = threading.Lock()

    def decode(self, chunk: Chunk) -> Decoded:
        """Count, then decode."""
        with self._lock:
            self.chunks += 1
            self.records += len(chunk)
        return self._decoder.decode(chunk)


def landed_rows(decoded: Decoded) -> Iterator[LandedRow]:
    """The rows of a decoded chunk with their coordinates: `ListRows`, or whatever has `to_pylist`."""
    kept = range(len(decoded.chunk)) if decoded.kept is None else decoded.kept
    for index, row in zip(kept, _items(decoded.rows), strict=True):
        yield LandedRow(decoded.chunk.stream, decoded.chunk.offsets[index], row)


def _items(rows: Rows) -> tuple[object, ...]:
    if isinstance(rows, ListRows):
        return rows.items
    items: list[object] = rows.to_pylist()  # type: ignore[attr-defined]
    return tuple(items)
