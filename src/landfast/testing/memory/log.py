"""A log in memory: topics with incarnations, partitions with gaps, retention, truncation, aborted and open transactions."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice

from landfast.errors import Misconfigured, check
from landfast.model import Bounds, Headers, Position, Stream


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a producer wrote it. `timestamp` is in milliseconds."""

    offset: int
    value: bytes | None
    key: bytes | None
    headers: Headers
    timestamp: int


@dataclass(slots=True)
class Partition:
    """What a log keeps of one stream, and what can befall it. `MemoryLog` answers for reading and writing.

    first       where reading can begin
    end         where the next record will be
    stable_end  where a read-committed reader stops while a transaction is open, else None
    records     what is there
    ever        what was ever there and is still owed to the readers
    """

    lock: threading.RLock
    first: Position = 0
    end: Position = 0
    stable_end: Position | None = None
    records: dict[int, Record] = field(default_factory=dict)
    ever: dict[int, Record] = field(default_factory=dict)

    @property
    def readable_end(self) -> Position:
        """Where a read-committed reader stops today."""
        return self.end if self.stable_end is None else self.stable_end

    def expire(self, first: Position) -> None:
        """Retention: everything below `first` is gone, though it is still owed; it stops at an open transaction."""
        with self.lock:
            self.first = max(self.first, min(first, self.readable_end))
            self.records = {offset: record for offset, record in self.records.items() if offset >= self.first}

    def compact(self, offsets: Collection[int]) -> None:
        """Take these records away; their offsets become gaps, and nobody owes them to anyone any more."""
        with self.lock:
            for offset in offsets:
                self.records.pop(offset, None)
                self.ever.pop(offset, None)

    def truncate(self, end: Position) -> None:
        """The tail from `end` on is gone, as after an unclean leader election; its offsets will be used again."""
        with self.lock:
            self.end = min(self.end, end)
            self.first = min(self.first, self.end)
            self.stable_end = None if self.stable_end is None else min(self.stable_end, self.end)
            self.records = {offset: record for offset, record in self.records.items() if offset < self.end}
            self.ever = {offset: record for offset, record in self.ever.items() if offset < self.end}

    def open_transaction(self) -> None:
        """From here on a read-committed reader sees no further than today's end, until `close_transaction`."""
        with self.lock:
            self.stable_end = self.end

    def close_transaction(self) -> None:
        """The open transaction has ended: readers see everything again."""
        with self.lock:
            self.stable_end = None

    def abort_transaction(self) -> None:
        """The open transaction is called off: what was written since is a gap that no reader ever sees, and that nobody owes."""
        with self.lock:
            if self.stable_end is not None:
                self.compact([offset for offset in self.records if offset >= self.stable_end])
                self.stable_end = None


@dataclass(slots=True)
class _Topic:
    name: str
    incarnation: str
    partitions: list[Partition]
    streams: list[Stream] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Name the streams once: they are asked for at every poll."""
        self.streams = [Stream(self.name, self.incarnation, index) for index in range(len(self.partitions))]


class MemoryLog:
    """Topics in memory, as a broker would keep them. Thread-safe; every call is one atomic act.

    A reader knows a topic by its name only, as Kafka's consumers do: after `recreate` it goes on silently in the new incarnation.
    Whoever must not be fooled asks `incarnation`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._topics: dict[str, _Topic] = {}
        self._past: dict[Stream, Partition] = {}
        self._born = 0

    def create(self, topic: str, partitions: int = 1) -> tuple[Stream, ...]:
        """Create a topic and return its streams; creating it again while it exists is a mistake of the test."""
        with self._lock:
            check(topic not in self._topics, f"topic {topic} exists already")
            check(partitions > 0, "a topic has at least one partition")
            self._born += 1
            self._topics[topic] = _Topic(topic, f"id-{self._born}", [Partition(self._lock) for _ in range(partitions)])
            return self.streams([topic])

    def delete(self, topic: str) -> None:
        """Delete a topic. What it held stays in `truth`."""
        with self._lock:
            for stream in self.streams([topic]):
                self._past[stream] = self._partition(stream.topic, stream.partition)
            del self._topics[topic]

    def recreate(self, topic: str, partitions: int | None = None) -> tuple[Stream, ...]:
        """Delete a topic and create it again, empty, under the same name: another incarnation."""
        with self._lock:
            count = partitions or len(self._topics[topic].partitions)
            self.delete(topic)
            return self.create(topic, count)

    def add_partitions(self, topic: str, partitions: int) -> tuple[Stream, ...]:
        """Add this many partitions and return all streams of the topic."""
        with self._lock:
            self._topics[topic].partitions.extend(Partition(self._lock) for _ in range(partitions))
            self._topics[topic].__post_init__()
            return self.streams([topic])

    def streams(self, topics: Collection[str] | None = None) -> tuple[Stream, ...]:
        """The streams that these topics, or all, have today.

        Raises:
            Misconfigured: one of the topics does not exist.
        """
        with self._lock:
            found = []
            for topic in sorted(self._topics) if topics is None else topics:
                if topic not in self._topics:
                    raise Misconfigured("TOPIC_MISSING", f"topic {topic} does not exist", next_step="Create it or correct the name.")
                found += self._topics[topic].streams
            return tuple(found)

    def incarnation(self, topic: str) -> str | None:
        """The incarnation that the topic has today; None where there is no such topic."""
        with self._lock:
            return self._topics[topic].incarnation if topic in self._topics else None

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int = 0,
    ) -> int:
        """Append a record and return its offset."""
        with self._lock:
            state = self._partition(topic, partition)
            record = Record(state.end, value, key, tuple(headers), timestamp)
            state.records[state.end] = state.ever[state.end] = record
            state.end += 1
            return record.offset

    def append_marker(self, topic: str, partition: int, count: int = 1) -> Position:
        """Append offsets that no reader ever sees: transaction markers, aborted records. Returns the new end."""
        with self._lock:
            state = self._partition(topic, partition)
            state.end += count
            return state.end

    def expire(self, stream: Stream, first: Position) -> None:
        """Retention passes over a stream: see `Partition.expire`."""
        self[stream].expire(first)

    def bounds(self, topic: str, partition: int) -> Bounds | None:
        """What a read-committed reader can reach under this name today; None where there is no such partition."""
        with self._lock:
            known = self._topics.get(topic)
            if known is None or partition >= len(known.partitions):
                return None
            state = known.partitions[partition]
            return Bounds(state.first, state.readable_end)

    def read(self, topic: str, partition: int, start: Position, limit: int) -> tuple[Record, ...]:
        """Up to `limit` records at or above `start`, as far as a read-committed reader may see."""
        with self._lock:
            known = self._topics.get(topic)
            if known is None or partition >= len(known.partitions):
                return ()
            state = known.partitions[partition]
            there = (offset for offset in range(max(start, state.first), state.readable_end) if offset in state.records)
            return tuple(state.records[offset] for offset in islice(there, limit))

    def truth(self) -> Mapping[Stream, Mapping[int, Record]]:
        """Every record that was ever written and not compacted or truncated away, of all incarnations: what a ledger checks against."""
        with self._lock:
            every = dict(self._past)
            every.update({stream: self[stream] for stream in self.streams()})
            return {stream: dict(state.ever) for stream, state in every.items()}

    def __getitem__(self, stream: Stream) -> Partition:
        """The partition behind a stream of today's incarnation: `log[stream].truncate(7)`."""
        with self._lock:
            check(self.incarnation(stream.topic) == stream.incarnation, f"{stream} is not of today's incarnation")
            return self._partition(stream.topic, stream.partition)

    def _partition(self, topic: str, partition: int) -> Partition:
        return self._topics[topic].partitions[partition]
