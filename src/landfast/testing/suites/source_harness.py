"""How the checks of `SOURCE_CHECKS` reach the source under test, and how they drive it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from landfast.model import Assignment, Bounds, Chunk, Halt, Headers, Position, Stream
from landfast.ports import Clock, Extent, Source
from landfast.testing.suites.promises import demand, demand_equal

POLL_RECORDS = 50
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to write. `timestamp` is in milliseconds."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int = 1_700_000_000_000


def drafts(count: int) -> list[Draft]:
    """This many records, told apart by their values."""
    return [Draft(b"value-%d" % index) for index in range(count)]


class SourceUnderTest(Source, Extent, Protocol):
    """Sources of logs answer for their extent too."""


class SourceHarness(Protocol):
    """Stands between the checks and one log with one topic of two partitions, fresh for each check.

    `append_gap`, `expire` and `recreate` are used by `LOG_CHANGE_CHECKS` only.
    """

    @property
    def clock(self) -> Clock:
        """The source's own clock: a real one for a real log."""

    @property
    def patience_seconds(self) -> float:
        """How long, on that clock, a condition may take to come true."""

    def open_source(self) -> SourceUnderTest:
        """Another member of the same group, not yet opened."""

    def streams(self) -> tuple[Stream, Stream]:
        """The two streams of the topic as it is today."""

    def produce(self, stream: Stream, records: Sequence[Draft]) -> list[int]:
        """Write these records, durably, and return their offsets."""

    def bounds(self, stream: Stream) -> Bounds:
        """First and end of a stream, asked of the log itself."""

    def append_gap(self, stream: Stream) -> Position:
        """Put something at the tail that no reader sees (an aborted transaction); returns the new end."""

    def expire(self, stream: Stream, first: Position) -> None:
        """Remove everything below `first`."""

    def recreate(self) -> None:
        """Delete the topic and create it again with two partitions."""


class Reading:
    """A source that is driven by polling, with all that it delivered: the engine's part, played by a check.

    `starts` says where streams start; a stream that is not in it is left out, and no `starts` at all means None for each. `after`,
    where given, is asked instead for the positions of what is gained. Every chunk is checked as it arrives.
    """

    def __init__(
        self,
        harness: SourceHarness,
        starts: Mapping[Stream, Position | None] | None = None,
        after: Callable[[], Mapping[Stream, Position]] | None = None,
    ) -> None:
        self.source = harness.open_source()
        self.hold: set[Stream] = set()
        self.chunks: dict[Stream, list[Chunk]] = {}
        self.reached: dict[Stream, Position] = {}
        self.confirmed: dict[Stream, Position] = {}
        self.halted: dict[Stream, Halt] = {}
        self.started: dict[Stream, Assignment] = {}
        self.given_up: set[Stream] = set()
        self.beside: list[Reading] = []
        self._harness = harness
        self._starts = starts
        self._after = after
        self._epoch = 0
        self._stands: dict[Stream, Position] = {}

    def __enter__(self) -> Self:
        """Open the source."""
        self.source.open(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the source."""
        self.source.close()

    def gained(self, streams: Collection[Stream]) -> Mapping[Stream, Assignment]:
        """Start the streams as the check wants it."""
        known: Mapping[Stream, Position | None] = dict(self._after()) if self._after is not None else self._starts or {}
        answer = {}
        for stream in streams:
            demand(stream not in self.started, f"{stream} is gained twice")
            if self._starts is None or stream in self._starts:
                answer[stream] = self._assign(stream, known.get(stream))
        return answer

    def lost(self, streams: Collection[Stream], deadline_seconds: float, confirmed: Mapping[Stream, Position]) -> None:
        """Forget that the streams are ours; what they delivered stays for the check."""
        demand(deadline_seconds >= 0, "a deadline lies ahead")
        # A batch spans streams and lands whole: what stays may be confirmed along with what goes.
        demand(set(confirmed) <= {*streams, *self.started}, "streams are confirmed that are not ours")
        for stream in streams:
            self.started.pop(stream, None)
            self.given_up.add(stream)

    def rewind(self, stream: Stream, position: Position) -> None:
        """Have the stream read again from here, and forget what it delivered."""
        self.chunks.pop(stream, None)
        self._stands.pop(stream, None)
        self.reached.pop(stream, None)
        self.confirmed.pop(stream, None)
        self.source.rewind({stream: self._assign(stream, position)})

    def poll(self) -> None:
        """Poll once and check what came."""
        hold = frozenset(self.hold)
        poll = self.source.poll(POLL_RECORDS, POLL_SECONDS, hold)
        for chunk in poll.chunks:
            demand(chunk.stream not in hold, f"{chunk.stream} is held and delivers")
            self._take(chunk)
        for stream, position in poll.reached.items():
            demand(stream not in hold and stream in self.started, f"{stream} reaches its end and is not read")
            demand(position >= self.end_of(stream), f"{stream} reaches {position} after a chunk up to {self.end_of(stream)}")
            self.reached[stream] = self._stands[stream] = position
        for stream, position in poll.confirmed.items():
            if stream in self._stands:
                demand(position <= self.end_of(stream), f"{stream} is confirmed up to {position} and read up to {self.end_of(stream)}")
            self.confirmed[stream] = position
        self.halted |= {**poll.halted, **poll.halting}

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Poll, and let those beside poll, until the condition is true."""
        clock = self._harness.clock
        deadline = clock.monotonic() + self._harness.patience_seconds
        while not condition():
            demand(clock.monotonic() < deadline, f"after {self._harness.patience_seconds} seconds it is not so that {what}")
            for reading in (self, *self.beside):
                reading.poll()

    def until_read(self, records: Mapping[Stream, int]) -> None:
        """Poll until at least this many records of each stream were delivered."""
        self.until(lambda: all(self.count(stream) >= count for stream, count in records.items()), f"{dict(records)} are read")

    def count(self, stream: Stream) -> int:
        """How many records of the stream were delivered."""
        return len(self.offsets(stream))

    def offsets(self, stream: Stream) -> list[int]:
        """The offsets of the stream's records, in the order delivered."""
        return [offset for chunk in self.chunks.get(stream, ()) for offset in chunk.offsets]

    def values(self, stream: Stream) -> list[bytes | None]:
        """The values of the stream's records, in the order delivered."""
        return [value for chunk in self.chunks.get(stream, ()) for value in chunk.values]

    def drafts(self, stream: Stream) -> list[Draft]:
        """The stream's records, as they would have been written."""
        found = []
        for chunk in self.chunks.get(stream, ()):
            headers = chunk.headers or [()] * len(chunk)
            columns = zip(chunk.values, chunk.keys, headers, chunk.timestamps, strict=True)
            found += [Draft(value, key, tuple(pairs), timestamp) for value, key, pairs, timestamp in columns]
        return found

    def end_of(self, stream: Stream) -> Position:
        """Where the stream's reader stands: at the end of its last chunk, or where it reached the end; 0 before either."""
        return self._stands.get(stream, 0)

    def next_positions(self) -> Mapping[Stream, Position]:
        """Where the next owner of each stream has to go on."""
        return dict(self._stands)

    def _assign(self, stream: Stream, position: Position | None) -> Assignment:
        self._epoch += 1
        self.started[stream] = Assignment(position, self._epoch)
        return self.started[stream]

    def _take(self, chunk: Chunk) -> None:
        stream = chunk.stream
        demand(stream in self.started, f"{stream} delivers and is not ours, or was not started")
        assignment = self.started[stream]
        demand_equal(chunk.epoch, assignment.epoch, f"epoch of a chunk of {stream}")
        expected = self._stands.get(stream, assignment.position)
        if expected is not None:
            demand_equal(chunk.start, expected, f"start of a chunk of {stream}")
        check_columns(chunk)
        self.chunks.setdefault(stream, []).append(chunk)
        self._stands[stream] = chunk.end


def check_columns(chunk: Chunk) -> None:
    """The columns of a chunk fit together, and its offsets lie in its range, in order."""
    count = len(chunk.values)
    demand_equal((len(chunk.keys), len(chunk.offsets), len(chunk.timestamps)), (count, count, count), "lengths of a chunk's columns")
    demand(chunk.headers is None or len(chunk.headers) == count, "length of a chunk's headers")
    offsets = list(chunk.offsets)
    demand_equal(offsets, sorted(set(offsets)), "offsets of a chunk")
    demand(not offsets or chunk.start <= offsets[0], f"a chunk from {chunk.start} holds offset {offsets[:1]}")
    demand(not offsets or offsets[-1] < chunk.end, f"a chunk up to {chunk.end} holds offset {offsets[-1:]}")
    demand(chunk.start <= chunk.end, "a chunk ends before it starts")
    held = sum(len(value or b"") for value in chunk.values) + sum(len(key or b"") for key in chunk.keys)
    demand(chunk.nbytes >= held, f"a chunk of {held} bytes says {chunk.nbytes}")
