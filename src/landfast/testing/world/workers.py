"""A worker of a world: the engine that ships, over simulated ports, with what befalls it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.report import RunReport
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Later, Route, every_topic
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.core.upkeep import UpkeepLimits
from landfast.events import Event, LaneHalted
from landfast.model import Bounds, Position, Run, Stream
from landfast.ports import Decoder, Extent
from landfast.testing.faults import Fault, FaultPlan, Powers
from landfast.testing.faulty import (
    FaultyDeadLetters,
    FaultyLetterStore,
    FaultyObserver,
    FaultyRetries,
    FaultySink,
    FaultySource,
    FaultyTable,
)
from landfast.testing.ledger import DEAD, EITHER, line_fate
from landfast.testing.memory import (
    LandedRow,
    LineDecoder,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemoryLog,
    MemoryRetries,
    MemoryRetriesSettings,
    MemorySink,
    MemorySinkSettings,
    MemorySource,
    MemorySourceSettings,
    MemoryTable,
    Record,
    RecordingObserver,
    TableCommit,
)
from landfast.testing.world.ailing import AILING, SORE, AilingDecoder, refuse_sore
from landfast.testing.world.schedule import Sizes
from landfast.testing.world.scheduler import Scheduler, TaskExecutor, VirtualClock

POISON = b"poison"
"""A value that decodes well and that the sink refuses at the commit."""


def refuse_poison(row: LandedRow) -> str | None:
    """A constraint of the table."""
    return "poison" if row.row == POISON else None


DISPUTED = b"disputed"
"""A value that one release of the settings takes for a row and the other for a dead letter."""


_EITHER = (DISPUTED, AILING, SORE)


class StricterDecoder(LineDecoder):
    """The other release: what is disputed is rejected."""

    rejected = (*LineDecoder.rejected, DISPUTED)


def fate(record: Record) -> str:
    """Where a record of a world must end."""
    if record.value is not None and record.value.startswith(_EITHER):
        return EITHER
    return DEAD if record.value == POISON else line_fate(record)


@dataclass(frozen=True, slots=True)
class Ground:
    """What outlives every worker: the group over its log, the table, the letters, and the scheduler that moves all of them.

    halted  the streams of which some worker said that it stands still
    """

    group: MemoryGroup
    table: MemoryTable
    store: MemoryLetterStore
    scheduler: Scheduler
    halted: set[Stream]


class WatchedTable(MemoryTable):
    """A table that lets somebody look at every new version, whoever put it, at the very moment when it is there."""

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__()
        self._look = look

    def put(self, version: int, commit: TableCommit) -> None:
        """Make `commit` this version, if it is the next one."""
        super().put(version, commit)
        self._look()


class WatchedGroup(MemoryGroup):
    """A group that lets somebody look at what was acknowledged, at once."""

    def __init__(self, log: MemoryLog, topics: Collection[str], look: Callable[[], object]) -> None:
        super().__init__(log, topics)
        self._look = look

    def acknowledge(self, member: str, positions: Mapping[Stream, Position]) -> None:
        """Take note of positions."""
        super().acknowledge(member, positions)
        self._look()


class WorkersObserver(RecordingObserver):
    """Remembers what one worker says, and tells everybody what stands still."""

    def __init__(self, halted: set[Stream]) -> None:
        super().__init__()
        self._halted = halted

    def notice(self, event: Event) -> None:
        """Keep one event."""
        if isinstance(event, LaneHalted):
            self._halted.add(event.stream)
        super().notice(event)


class WatchedExtent:
    """An extent that remembers what it said first of all streams: where a bounded run has to get to."""

    def __init__(self, extent: Extent) -> None:
        self.ends: Mapping[Stream, Bounds] = {}
        self._extent = extent

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """See `ports.Extent`."""
        found = self._extent.bounds(streams)
        if streams is None and not self.ends:
            self.ends = dict(found)
        return found


@dataclass(slots=True)
class Worker:
    """One process of the engine: what it is, and what became of it.

    known             where the table stood when it began
    was_away          it was frozen, or thrown out of the group
    leaving           it has closed its source, or is about to: it will not be in the group again
    killed_in_commit  it was killed while a commit was on its way
    ahead             it has decoded a piece before its batch was cut
    company           another worker lived when it ended
    """

    name: str
    plan: FaultPlan
    runner: Runner
    observer: RecordingObserver
    clock: VirtualClock
    extent: WatchedExtent
    known: Mapping[Stream, Position]
    crashed: bool = False
    report: RunReport | None = None
    was_away: bool = False
    leaving: bool = False
    killed_in_commit: bool = False
    ahead: bool = False
    company: bool = False

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return not self.crashed and self.report is None

    def look_ahead(self) -> None:
        """See whether a piece is being decoded, or was, of a batch that is not cut yet."""
        if not self.ahead:
            for flow in self.runner.flows:
                for lane in flow.lanes.values():
                    self.ahead = self.ahead or bool(lane.decoding)


def hired(ground: Ground, sizes: Sizes, name: str, faults: Sequence[Fault], powers: Powers) -> Worker:
    """Build a worker over the ground that all share. Every second one is of the other release."""
    scheduler = ground.scheduler
    plan = FaultPlan(faults, powers=powers)
    clock = VirtualClock(scheduler)
    reading = MemorySourceSettings(chunk_records_max=sizes.chunk_records, checks_apart=sizes.checks_apart, checks=sizes.checks)
    reader = MemorySource(ground.group, name, clock, reading)
    source = FaultySource(reader, reader, plan)
    extent = WatchedExtent(source)
    route = _route(ground, sizes, name, plan, clock)
    observer = WorkersObserver(ground.halted)
    workplace = Workplace(
        clock,
        lambda: TaskExecutor(scheduler, name, "pool", sizes.threads),
        lambda: TaskExecutor(scheduler, name, "committer", 1),
        FaultyObserver(observer, plan),
        lambda: 0.5,
    )
    runner = Runner(source, extent, [route], Run(name, "pipeline", "settings", 0.0), _patient(sizes), workplace)
    return Worker(name, plan, runner, observer, clock, extent, dict(ground.table.positions))


def _route(ground: Ground, sizes: Sizes, name: str, plan: FaultPlan, clock: VirtualClock) -> Route:
    """The ports of a worker. Only where letters are tried again something fails for a while."""
    table, store = FaultyTable(ground.table, plan), FaultyLetterStore(ground.store, plan)
    decoder: Decoder = StricterDecoder() if int(name.rpartition("-")[2]) % 2 == 0 else LineDecoder()
    limits = _flow_limits(sizes)
    if not sizes.later_seconds:
        sink = MemorySink(table, name, MemorySinkSettings(refuse_at_commit=refuse_poison))
        return Route("route", every_topic, decoder, FaultySink(sink, plan), FaultyDeadLetters(MemoryDeadLetters(store), plan), limits)

    def refuse(row: LandedRow) -> str | None:
        return refuse_poison(row) or refuse_sore(row, ground.scheduler.now)

    decoder = AilingDecoder(decoder, lambda: ground.scheduler.now)
    sink = MemorySink(table, name, MemorySinkSettings(refuse_at_commit=refuse))
    settings = MemoryRetriesSettings(sizes.later_seconds, refuse)
    letters = MemoryRetries(store, table, decoder, clock, settings)
    dead_letters, retries = FaultyDeadLetters(letters, plan), FaultyRetries(letters, plan)
    return Route("route", every_topic, decoder, FaultySink(sink, plan), dead_letters, limits, retries)


@lru_cache(maxsize=1)
def _flow_limits(sizes: Sizes) -> FlowLimits:
    return FlowLimits(
        batch=BatchLimits(records_max=sizes.batch_records, seconds_max=0.5),
        piece=PieceLimits(records_max=sizes.piece_records, waiting_max=4),
        breaker=BreakerLimits(share_max=1.0),
        retry=RetryPolicy(attempts_max=1_000, total_seconds_max=100_000.0),
        flight_batches_max=sizes.flight_batches,
        upkeep=UpkeepLimits(landings_between=sizes.maintain_landings),
        conflicts_max=1_000,
        later=Later(waiting_records_max=sizes.waiting_max),
    )


@lru_cache(maxsize=1)
def _patient(sizes: Sizes) -> RunnerLimits:
    """Long polls mostly: what only waits costs no steps."""
    return RunnerLimits(poll_records=sizes.poll_records, poll_seconds=sizes.poll_seconds, busy_poll_seconds=0.5, others_seconds_max=120.0)
