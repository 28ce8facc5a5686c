"""A member of a `MemoryGroup` that reads a `MemoryLog`: a `ports.Source` and a `ports.Extent`."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from landfast.core.batching import size_of
from landfast.errors import check
from landfast.model import Assignment, Bounds, Chunk, Halt, Poll, Position, Stream
from landfast.ports import Clock, Membership
from landfast.testing.memory.group import MemoryGroup
from landfast.testing.memory.log import MemoryLog, Record


@dataclass(frozen=True, slots=True)
class MemorySourceSettings:
    """How a `MemorySource` reads.

    start                   earliest or latest: where a stream begins that the sink has never seen
    chunk_records_max       at most this many records in a chunk
    drain_seconds           the deadline given with `lost` when streams are revoked or the source is closed
    checks_apart            a check of the incarnation happens on every so many polls: confirmation lags behind reading
    checks                  before or after the reads of a poll: after them, what was just read is confirmed too
    """

    start: str = "earliest"
    chunk_records_max: int = 100
    drain_seconds: float = 10.0
    checks_apart: int = 1
    checks: str = "before"


@dataclass(slots=True)
class _Reader:
    epoch: int
    position: Position
    confirmed: Position
    halted: bool = False
    halting: bool = False


class MemorySource:
    """A member that reads a log.

    It reads by topic *name*, as Kafka's consumers do, and so needs the same care: nothing it read counts as confirmed before a check of
    the incarnation that is later than the read.
    """

    def __init__(self, group: MemoryGroup, member: str, clock: Clock, settings: MemorySourceSettings | None = None) -> None:
        self.group = group
        self.member = member
        self.polls = 0
        self._log: MemoryLog = group.log
        self._clock = clock
        self._settings = settings or MemorySourceSettings()
        self._membership: Membership | None = None
        self._readers: dict[Stream, _Reader | None] = {}
        self._turn = 0
        self._closed = False

    def open(self, membership: Membership) -> None:
        """Join the group. The streams arrive at the first `poll`."""
        self._log.streams(self.group.topics)
        self._membership = membership
        self.group.join(self.member)

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """Hear of changed ownership, check incarnations, then read; sleeps through the timeout where there is nothing to read."""
        check(self._membership is not None, "a source is opened before it is polled")
        check(limit > 0, "a poll asks for at least one record")
        self._reconcile()
        halted = self._check_when_due("before")
        halting: dict[Stream, Halt] = {}
        chunks, reached = self._read(limit, hold, halted, halting)
        halted |= self._check_when_due("after")
        self.polls += 1
        if not (chunks or halted or halting):
            self._clock.sleep(timeout_seconds)
        return Poll(chunks, reached, self._confirmed(), halted, halting)

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """Read these streams again from there; those that are not ours any more are left alone."""
        for stream, assignment in assignments.items():
            if stream in self._readers:
                self._readers[stream] = self._start(stream, assignment)

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """Tell the group."""
        self.group.acknowledge(self.member, positions)

    def close(self) -> None:
        """Give up what is ours, then leave. Idempotent."""
        if self._closed or self._membership is None:
            return
        self._closed = True
        self._give_up(tuple(sorted(self._readers)), self._settings.drain_seconds)
        self.group.leave(self.member)

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """What the log still has of these streams, or of all that the group's topics have today."""
        wanted = self._log.streams(self.group.topics) if streams is None else streams
        found: dict[Stream, Bounds] = {}
        for stream in wanted:
            bounds = self._log.bounds(stream.topic, stream.partition)
            if bounds is not None and self._log.incarnation(stream.topic) == stream.incarnation:
                found[stream] = bounds
        return found

    def _reconcile(self) -> None:
        handover = self.group.handover(self.member)
        if handover.lost or handover.revoked:
            self._give_up(handover.lost, 0.0)
            self._give_up(handover.revoked, self._settings.drain_seconds)
            self.group.released(self.member, handover.revoked)
        if not handover.gained or self._membership is None:
            return
        self._readers.update(dict.fromkeys(handover.gained))
        for stream, assignment in self._membership.gained(handover.gained).items():
            self._readers[stream] = self._start(stream, assignment)

    def _give_up(self, streams: Sequence[Stream], deadline_seconds: float) -> None:
        ours = [stream for stream in streams if stream in self._readers]
        if not ours or self._membership is None:
            return
        self._check_incarnations(ours)
        confirmed = {stream: position for stream, position in self._confirmed().items() if stream in ours}
        for stream in ours:
            del self._readers[stream]
        self._membership.lost(ours, deadline_seconds, confirmed)

    def _start(self, stream: Stream, assignment: Assignment) -> _Reader:
        position = assignment.position
        if position is None:
            bounds = self._log.bounds(stream.topic, stream.partition) or Bounds(0, 0)
            position = bounds.end if self._settings.start == "latest" else bounds.first
        # One below: also where nothing is ever read, the place itself is of the topic that there is by now.
        return _Reader(assignment.epoch, position, position - 1)

    def _confirmed(self) -> dict[Stream, Position]:
        return {stream: reader.confirmed for stream, reader in self._readers.items() if reader is not None}

    def _check_when_due(self, moment: str) -> dict[Stream, Halt]:
        due = self._settings.checks == moment and self.polls % self._settings.checks_apart == 0
        return self._check_incarnations(self._readers) if due else {}

    def _check_incarnations(self, streams: Iterable[Stream]) -> dict[Stream, Halt]:
        halted = {}
        for stream in streams:
            reader = self._readers[stream]
            if reader is None or reader.halted:
                continue
            today = self._log.incarnation(stream.topic)
            if today == stream.incarnation:
                reader.confirmed = reader.position
                continue
            reader.halted = True
            halted[stream] = _gone(stream) if today is None else _replaced(stream, today)
        return halted

    def _read(
        self, limit: int, hold: AbstractSet[Stream], halted: dict[Stream, Halt], halting: dict[Stream, Halt]
    ) -> tuple[list[Chunk], dict[Stream, Position]]:
        """One chunk of each stream that is not held, beginning with another stream each time, until the limit is reached.

        Returns the chunks and what was reached; adds to `halted` and `halting`.
        """
        chunks: list[Chunk] = []
        reached: dict[Stream, Position] = {}
        order = sorted(self._readers)
        self._turn += 1
        start = self._turn % len(order) if order else 0
        for stream in order[start:] + order[:start]:
            reader = self._readers[stream]
            if reader is None or reader.halted or reader.halting or stream in hold or limit <= 0:
                continue
            bounds = self._log.bounds(stream.topic, stream.partition)
            if bounds is None or reader.position > bounds.end:
                reader.halted = True
                halted[stream] = _gone(stream) if bounds is None else _truncated(stream, reader.position, bounds.end)
                continue
            if reader.position < bounds.first:
                reader.halting = True
                halting[stream] = _expired(stream, reader.position, bounds.first)
                continue
            if reader.position < bounds.end:
                records = self._log.read(stream.topic, stream.partition, reader.position, min(limit, self._settings.chunk_records_max))
                limit -= len(records)
                if records:
                    end = records[-1].offset + 1
                    chunks.append(chunk_of(stream, reader.epoch, reader.position, end, records))
                    reader.position = end
            if reader.position >= bounds.end or not self._log.read(stream.topic, stream.partition, reader.position, 1):
                # The rest is a gap: the reader steps over it, and its next chunk starts behind it.
                reader.position = reached[stream] = max(reader.position, bounds.end)
        return chunks, reached


def chunk_of(stream: Stream, epoch: int, start: Position, end: Position, records: Sequence[Record]) -> Chunk:
    """Records as a chunk that covers `[start, end)`."""
    values, keys = [record.value for record in records], [record.key for record in records]
    headers = [record.headers for record in records]
    kept = headers if any(headers) else None
    return Chunk(
        stream=stream,
        epoch=epoch,
        start=start,
        end=end,
        values=values,
        keys=keys,
        headers=kept,
        offsets=array("q", [record.offset for record in records]),
        timestamps=array("q", [record.timestamp for record in records]),
        nbytes=size_of(values, keys, kept),
    )


def _expired(stream: Stream, position: Position, first: Position) -> Halt:
    message = f"{stream} begins at {first} today, and {position} is what was to be read next"
    return Halt("DATA_EXPIRED", message, "Restore the range, or set the position forward.")


def _truncated(stream: Stream, position: Position, end: Position) -> Halt:
    message = f"{stream} ends at {end} today, and {position} is what was to be read next"
    return Halt("LOG_TRUNCATED", message, "Find out what happened to the log.")


def _gone(stream: Stream) -> Halt:
    return Halt("TOPIC_GONE", f"{stream} does not exist any more", "Create the topic again, or take it out of the settings.")


def _replaced(stream: Stream, today: str) -> Halt:
    message = f"{stream} was incarnation {stream.incarnation} and is {today} today"
    return Halt("TOPIC_REPLACED", message, "Accept the new topic if it was meant.")
