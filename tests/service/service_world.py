"""A service over a log in memory: a function under test, a group that keeps offsets, and runners that are built over them at will."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from landfast import classify
from landfast.core.batching import BatchLimits
from landfast.core.report import RunReport
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits
from landfast.core.runner import Runner
from landfast.errors import Conflict, Unavailable
from landfast.events import Event
from landfast.model import Halt, Position, Stream
from landfast.ports import DeadLetters
from landfast.sinks.service.records import Record, RecordDecoder
from landfast.sinks.service.sink import Service, ServiceSink
from landfast.sources.kafka_letters import NoLetters
from tests.core.rig import Rig

Records = Sequence[Record[Any]]
PATIENCE = RetryPolicy(attempts_max=5, wait_seconds_first=0.01, wait_seconds_max=0.02)


class Group:
    """What a broker keeps for a group: offsets, each of which its holder alone moves."""

    def __init__(self) -> None:
        self.offsets: dict[Stream, Position] = {}
        self.holder: dict[Stream, int] = {}
        self.refuse = 0
        self._members = itertools.count(1)

    def member(self) -> GroupMember:
        """Another process."""
        return GroupMember(self, next(self._members))


class GroupMember:
    """`sink.Offsets` over a `Group`."""

    def __init__(self, group: Group, number: int) -> None:
        self._group = group
        self._number = number

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        return {stream: self._group.offsets.get(stream) for stream in streams}

    def take(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        self._group.holder.update(dict.fromkeys(streams, self._number))
        return self.positions(streams)

    def check(self, streams: Collection[Stream]) -> None:
        for stream in streams:
            if self._group.holder.get(stream) != self._number:
                raise Conflict("PARTITION_LOST", "somebody else has it", stream=stream)

    def keep(self, positions: Mapping[Stream, Position]) -> None:
        self.check(positions)
        if self._group.refuse:
            self._group.refuse -= 1
            raise Unavailable("OFFSETS_NOT_KEPT", "the broker is gone")
        self._group.offsets.update(positions)


@dataclass(slots=True)
class Calls:
    """A handler that remembers what it was given; `act` may raise."""

    act: Callable[[Records], object] = len
    batches: list[list[int]] = field(default_factory=list)
    finished: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, records: Records) -> None:
        self.batches.append([record.offset for record in records])
        self.act(records)
        self.finished += [(record.partition, record.offset) for record in records]

    @property
    def sizes(self) -> list[int]:
        """How many records each call had."""
        return [len(batch) for batch in self.batches]


@dataclass(slots=True)
class World:
    """A log, a group, letters and a function."""

    handler: Callable[[Records], object]
    rig: Rig = field(default_factory=lambda: Rig(partitions=1))
    group: Group = field(default_factory=Group)
    batch: int = 10
    letters_to: str = "letters"
    calls_max: int = 200
    decode: Callable[[bytes], object] | None = None
    sink: ServiceSink | None = None

    def runner(self) -> Runner:
        """A process of its own."""
        self.rig.limits = FlowLimits(batch=BatchLimits(self.batch, seconds_max=0.01), retry=PATIENCE, flight_batches_max=1)
        self.rig.runner_limits = dataclasses.replace(self.rig.runner_limits, poll_records=self.batch)
        service = Service("orders", self.handler, lambda error: classify(error).error_class, self.letters_to, self.calls_max)
        self.sink = ServiceSink(service, self.group.member(), self.rig.clock, self.rig.observer)
        letters: DeadLetters | None = None if self.letters_to else NoLetters()
        return self.rig.runner(self.rig.route(self.sink, letters, RecordDecoder(self.decode)))

    def run(self) -> RunReport:
        """Handle all that is in the log."""
        return self.runner().run(until_end=True)

    def offset(self, partition: int = 0) -> Position | None:
        """The group's offset."""
        return self.group.offsets.get(self.rig.streams[partition])

    def heard(self, kind: type[Event]) -> list[Any]:
        """The events of a kind."""
        return list(self.rig.observer.of(kind))
