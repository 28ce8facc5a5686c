"""A small world for tests of the engine: a log, a table and letters in memory, and runners that are built over them at will."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from landfast.core.report import RunReport
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.model import Run, Stream
from landfast.ports import DeadLetters, Decoder, Executor, Retries, Sink
from landfast.testing.clock import ManualClock
from landfast.testing.executor import InlineExecutor
from landfast.testing.memory import (
    LineDecoder,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemoryLog,
    MemorySink,
    MemorySource,
    MemorySourceSettings,
    MemoryTable,
    RecordingObserver,
)

NO_JITTER = 0.5


@dataclass(slots=True)
class Rig:
    """The durable half of a world (log, group, table, letters), and how to build a runner over it.

    Each runner is a process of its own: what it holds in memory is gone when it is dropped.
    """

    topics: tuple[str, ...] = ("t",)
    partitions: int = 2
    limits: FlowLimits = field(default_factory=FlowLimits)
    runner_limits: RunnerLimits = field(default_factory=RunnerLimits)
    source_settings: MemorySourceSettings = field(default_factory=MemorySourceSettings)
    clock: ManualClock = field(default_factory=ManualClock)
    log: MemoryLog = field(default_factory=MemoryLog)
    table: MemoryTable = field(default_factory=MemoryTable)
    store: MemoryLetterStore = field(default_factory=MemoryLetterStore)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    executor: Callable[[], Executor] = InlineExecutor
    group: MemoryGroup = field(init=False)
    streams: tuple[Stream, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Create the topics and the group."""
        self.streams = tuple(stream for topic in self.topics for stream in self.log.create(topic, self.partitions))
        self.group = MemoryGroup(self.log, self.topics)

    def produce(self, count: int, *, partition: int = 0, topic: str = "t", bad_every: int = 0) -> None:
        """Append numbered lines; every `bad_every`-th is one that the decoder rejects."""
        for number in range(count):
            bad = bad_every > 0 and number % bad_every == bad_every - 1
            self.log.append(topic, partition, f"{'bad' if bad else 'line'} {number}".encode())

    def route(
        self,
        sink: Sink | None = None,
        letters: DeadLetters | None = None,
        decoder: Decoder | None = None,
        name: str = "route",
        retries: Retries | None = None,
    ) -> Route:
        """A route that takes every topic."""
        return Route(
            name,
            lambda _: True,
            decoder or LineDecoder(),
            sink or MemorySink(self.table, run_id=uuid.uuid4().hex),
            letters or MemoryDeadLetters(self.store),
            self.limits,
            retries,
        )

    def source(self, member: str = "one") -> MemorySource:
        """A member of the group."""
        return MemorySource(self.group, member, self.clock, self.source_settings)

    def runner(self, *routes: Route, source: MemorySource | None = None) -> Runner:
        """A process over the durable half."""
        reading = source or self.source()
        workplace = Workplace(self.clock, self.executor, self.executor, self.observer, lambda: NO_JITTER)
        run = Run(uuid.uuid4().hex, "pipeline", "settings", 0.0)
        return Runner(reading, reading, routes or (self.route(),), run, self.runner_limits, workplace)

    def land(self, *routes: Route) -> RunReport:
        """Run to the end of the log in a process of its own."""
        return self.runner(*routes).run(until_end=True)

    def landed(self, stream: Stream) -> list[int]:
        """The offsets of a stream's rows in the order landed."""
        return [row.offset for row in self.table.rows if row.stream == stream]

    def buried(self, stream: Stream) -> list[int]:
        """The offsets of a stream's letters in the order buried."""
        return [letter.offset for letter in self.store.letters if letter.stream == stream]
