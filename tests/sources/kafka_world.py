"""What the tests of the Kafka source share: an engine that only takes notes, and a reader that polls until something holds."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from landfast.errors import LandfastError
from landfast.events import Event, Notice
from landfast.model import Assignment, Chunk, Halt, Position, Stream
from landfast.sources.kafka import KafkaSource
from landfast.sources.kafka_settings import KafkaSettings
from landfast.system import SystemClock as WallClock

WAIT_SECONDS_MAX = 180.0


@dataclass
class Noted:
    """An observer that remembers."""

    events: list[Event] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        self.events.append(event)

    def codes(self) -> set[str]:
        return {event.code for event in self.events if isinstance(event, Notice)}


@dataclass
class Engine:
    """A Membership that starts streams where `positions` says (None where it says nothing) and remembers who came and went."""

    positions: dict[Stream, Position] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    owned: dict[Stream, int] = field(default_factory=dict)
    lost_with: dict[Stream, tuple[float, Mapping[Stream, Position]]] = field(default_factory=dict)
    failure: Exception | None = None
    _epochs: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def gained(self, streams: Collection[Stream]) -> Mapping[Stream, Assignment]:
        if self.failure is not None:
            raise self.failure
        answers = {stream: self.next(stream) for stream in streams}
        self.owned.update({stream: answer.epoch for stream, answer in answers.items()})
        return {stream: answer for stream, answer in answers.items() if stream.topic not in self.left_out}

    def lost(self, streams: Collection[Stream], deadline_seconds: float, confirmed: Mapping[Stream, Position]) -> None:
        for stream in streams:
            del self.owned[stream]
            self.lost_with[stream] = (deadline_seconds, dict(confirmed))

    def next(self, stream: Stream, position: Position | None = None) -> Assignment:
        return Assignment(self.positions.get(stream) if position is None else position, next(self._epochs))


@dataclass
class Member:
    """A source at work, and everything it brought."""

    source: KafkaSource
    engine: Engine
    noted: Noted
    chunks: list[Chunk] = field(default_factory=list)
    reached: dict[Stream, Position] = field(default_factory=dict)
    confirmed: dict[Stream, Position] = field(default_factory=dict)
    halted: dict[Stream, Halt] = field(default_factory=dict)
    doubted: set[Stream] = field(default_factory=set)
    hold: set[Stream] = field(default_factory=set)
    limit: int = 10_000

    def poll(self, timeout_seconds: float = 0.05) -> None:
        poll = self.source.poll(self.limit, timeout_seconds, frozenset(self.hold))
        self.chunks.extend(poll.chunks)
        self.reached.update(poll.reached)
        self.confirmed.update(poll.confirmed)
        # What the engine would land before a lane halts is not looked at here, only which streams it is told to let go of at once.
        self.halted.update({**poll.halting, **poll.halted})
        self.doubted.update(poll.halted)

    def until(self, holds: Callable[[], object], *others: Member, wait_seconds_max: float = WAIT_SECONDS_MAX) -> None:
        """Poll, this member and the others in turn, until something holds."""
        deadline = time.monotonic() + wait_seconds_max
        while not holds():
            assert time.monotonic() < deadline, f"did not come: {self.halted} {self.reached} {self.noted.codes()}"
            for member in (self, *others):
                member.poll()

    def has_begun(self) -> bool:
        return bool(self.engine.owned) and bool(self.chunks)

    def offsets(self, partition: int = 0) -> list[int]:
        return [offset for chunk in self.chunks if chunk.stream.partition == partition for offset in chunk.offsets]

    def stream(self, partition: int = 0) -> Stream:
        return next(stream for stream in self.engine.owned if stream.partition == partition)

    def end(self, partition: int = 0) -> Position | None:
        return next((position for stream, position in self.reached.items() if stream.partition == partition), None)

    def tiles(self) -> bool:
        """Whether the chunks of each stream and epoch follow one another without a hole, and hold what they claim."""
        ends: dict[tuple[Stream, int], Position] = {}
        for chunk in self.chunks:
            place = (chunk.stream, chunk.epoch)
            if ends.setdefault(place, chunk.start) != chunk.start:
                return False
            if len(chunk) and not chunk.start <= chunk.offsets[0] <= chunk.offsets[-1] < chunk.end:
                return False
            ends[place] = chunk.end
        return True


def unique(prefix: str = "topic") -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def settings(servers: str, *topics: str, **changes: Any) -> KafkaSettings:
    """Settings for tests: a group of their own and short waits."""
    base: dict[str, Any] = {
        "group": unique("group"),
        "topics": topics,
        "confirm_seconds": 0.02,
        "topic_check_seconds": 0.5,
        "gone_seconds": 1.0,
        "notice_seconds": 0.0,
        "revoke_seconds": 5.0,
        "poll_interval_seconds_max": 30.0,
        "options": {"topic.metadata.refresh.interval.ms": "1000"},
    }
    if changes.get("protocol", "classic") == "classic":
        # Members of a group hear of others by their heartbeats.
        base["options"]["heartbeat.interval.ms"] = "200"
    return KafkaSettings(servers=servers, **(base | changes))


def member(chosen: KafkaSettings, engine: Engine | None = None, begun: Collection[Stream] = ()) -> Member:
    """A source that has joined its group; of the streams in `begun` the sink holds something already."""
    noted = Noted()
    source = KafkaSource(chosen, WallClock(), noted)
    source.continues(begun)
    made = Member(source, engine or Engine(), noted)
    source.open(made.engine)
    return made


def refusal(call: Callable[[], object]) -> LandfastError:
    """The error that a call raises."""
    try:
        call()
    except LandfastError as error:
        return error
    raise AssertionError("nothing was raised")
