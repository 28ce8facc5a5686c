"""Records as a person's own function gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from landfast.errors import check
from landfast.model import TIMESTAMP_ABSENT, Chunk, Decoded, Headers, Reject

V = TypeVar("V")

_RECORD_OVERHEAD_BYTES = 400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Record(Generic[V]):
    """One record of a topic.

    timestamp  milliseconds since the epoch, None where the record carries no time
    value      its bytes, or what the decoder made of them; None for a tombstone, which no decoder is asked about
    headers    in order, repeated names kept
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: V | None
    headers: Headers = ()

    @property
    def time(self) -> datetime | None:
        """The timestamp as a date and a time; None also where no date is that far away."""
        try:
            return None if self.timestamp is None else _EPOCH + timedelta(milliseconds=self.timestamp)
        except OverflowError:
            return None

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class RecordsFailed(Exception):
    """Raised by a function that has finished its batch but for these records, which can never be handled.

    They alone become dead letters under `reason`, a word or two in snake_case. All others count as handled, and are not given again.
    No value of a record belongs into the message.
    """

    def __init__(self, records: Iterable[Record[V]], reason: str = "handler_refused", message: str = "") -> None:
        self.records: tuple[object, ...] = tuple(records)
        self.reason = reason
        self.message = message or f"the handler refused it as {reason}"
        super().__init__(f"{len(self.records)} records: {self.message}")


@dataclass(frozen=True, slots=True)
class RecordRows(Generic[V]):
    """Records as the engine holds them: `model.Rows`."""

    records: tuple[Record[V], ...]
    nbytes: int

    @property
    def num_rows(self) -> int:
        """How many."""
        return len(self.records)

    def slice(self, offset: int, length: int, /) -> RecordRows[V]:
        """So many of them, from one on; their bytes are guessed by their share."""
        part = self.records[offset : offset + length]
        return RecordRows(part, self.nbytes * len(part) // max(1, len(self.records)))


class RecordDecoder(Generic[V]):
    """A `ports.Decoder` that makes records, each value with a function of the person's own where there is one.

    A value whose function raises becomes a dead letter. The function is called from several threads at once.
    """

    def __init__(self, decode: Callable[[bytes], V] | None) -> None:
        self._decode = decode

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        records: list[Record[V]] = []
        kept: list[int] = []
        rejects: list[Reject] = []
        for index in range(len(chunk)):
            try:
                record = self._record(chunk, index)
            except Exception as error:  # noqa: BLE001 — a person's own function: whatever it raises concerns this record alone
                # The text of the exception may show the value.
                rejects.append(Reject(index, "decode_failed", f"the decoder raised {type(error).__name__}"))
            else:
                kept.append(index)
                records.append(record)
        rows = RecordRows(tuple(records), chunk.nbytes + len(records) * _RECORD_OVERHEAD_BYTES)
        return Decoded(chunk, rows, kept if rejects else None, tuple(rejects))

    def _record(self, chunk: Chunk, index: int) -> Record[V]:
        value = chunk.values[index]
        # Without a function of the person's own the type of a value is bytes.
        made: V | None = value if value is None or self._decode is None else self._decode(value)  # type: ignore[assignment]
        timestamp = chunk.timestamps[index]
        return Record(
            chunk.stream.topic,
            chunk.stream.partition,
            chunk.offsets[index],
            None if timestamp == TIMESTAMP_ABSENT else timestamp,
            chunk.keys[index],
            made,
            () if chunk.headers is None else tuple(chunk.headers[index]),
        )


def records_of(decoded: Iterable[Decoded]) -> tuple[Record[object], ...]:
    """The records of decoded chunks, in order."""
    found: list[Record[object]] = []
    for part in decoded:
        rows = part.rows
        check(isinstance(rows, RecordRows), "a batch of rows that are no records")
        found += rows.records  # type: ignore[attr-defined]
    return tuple(found)
