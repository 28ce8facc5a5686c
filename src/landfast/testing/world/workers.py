"""A worker of a world: the engine that ships, over simulated ports, with what befalls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.report import RunReport
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.core.upkeep import UpkeepLimits
from landfast.model import Run
from landfast.testing.faults import (
    Call,
    Fault,
    FaultPlan,
    FaultyDeadLetters,
    FaultyLetterStore,
    FaultyObserver,
    FaultySink,
    FaultySource,
    FaultyTable,
)
from landfast.testing.ledger import DEAD, line_fate
from landfast.testing.memory import (
    LandedRow,
    LineDecoder,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemorySink,
    MemorySinkSettings,
    MemorySource,
    MemorySourceSettings,
    MemoryTable,
    Record,
    RecordingObserver,
)
from landfast.testing.world.schedule import Sizes
from landfast.testing.world.scheduler import Scheduler, TaskExecutor, VirtualClock

POISON = b"poison"
"""A value that decodes well and that the sink refuses at the commit."""


def refuse_poison(row: LandedRow) -> str | None:
    """A constraint of the table."""
    return "poison" if row.row == POISON else None


def fate(record: Record) -> str:
    """Where a record of a world must end."""
    return DEAD if record.value == POISON else line_fate(record)


@dataclass(frozen=True, slots=True)
class Ground:
    """What outlives every worker: the group over its log, the table, the letters, and the scheduler that moves all of them."""

    group: MemoryGroup
    table: MemoryTable
    store: MemoryLetterStore
    scheduler: Scheduler


@dataclass(slots=True)
class Worker:
    """One process of the engine: what it is, and what became of it.

    was_away          it was frozen, or thrown out of the group
    killed_in_commit  it was killed while a commit was on its way
    ahead             it has decoded a piece before its batch was cut
    company           another worker lived when it ended
    """

    name: str
    plan: FaultPlan
    runner: Runner
    observer: RecordingObserver
    clock: VirtualClock
    crashed: bool = False
    report: RunReport | None = None
    was_away: bool = False
    killed_in_commit: bool = False
    ahead: bool = False
    company: bool = False

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return not self.crashed and self.report is None


@dataclass(frozen=True, slots=True)
class Watch:
    """What is told of each call of a port: before it with the name of the worker, and after it."""

    before: Callable[[str, Call], object]
    after: Callable[[], object]


def hired(ground: Ground, sizes: Sizes, name: str, faults: Sequence[Fault], watch: Watch) -> Worker:
    """Build a worker over the ground that all share."""
    scheduler = ground.scheduler
    plan = FaultPlan(faults, lambda _, call: watch.before(name, call), watch.after)
    clock = VirtualClock(scheduler)
    settings = MemorySourceSettings(chunk_records_max=sizes.chunk_records, checks_apart=sizes.checks_apart, checks=sizes.checks)
    reader = MemorySource(ground.group, name, clock, settings)
    source = FaultySource(reader, reader, plan)
    sink = MemorySink(FaultyTable(ground.table, plan), name, MemorySinkSettings(refuse_at_commit=refuse_poison))
    letters = MemoryDeadLetters(FaultyLetterStore(ground.store, plan))
    limits = _flow_limits(sizes)
    route = Route("route", lambda _: True, LineDecoder(), FaultySink(sink, plan), FaultyDeadLetters(letters, plan), limits)
    observer = RecordingObserver()
    workplace = Workplace(
        clock,
        lambda: TaskExecutor(scheduler, name, "pool", sizes.threads),
        lambda: TaskExecutor(scheduler, name, "committer", 1),
        FaultyObserver(observer, plan),
        lambda: 0.5,
    )
    runner = Runner(source, source, [route], Run(name, "pipeline", "settings", 0.0), _patient(sizes), workplace)
    return Worker(name, plan, runner, observer, clock)


def _flow_limits(sizes: Sizes) -> FlowLimits:
    return FlowLimits(
        batch=BatchLimits(records_max=sizes.batch_records, seconds_max=0.5),
        piece=PieceLimits(records_max=sizes.piece_records, waiting_max=4),
        breaker=BreakerLimits(share_max=1.0),
        retry=RetryPolicy(attempts_max=1_000, total_seconds_max=100_000.0),
        flight_batches_max=sizes.flight_batches,
        upkeep=UpkeepLimits(landings_between=sizes.maintain_landings),
        conflicts_max=1_000,
    )


def _patient(sizes: Sizes) -> RunnerLimits:
    """Long polls: what only waits costs no steps."""
    return RunnerLimits(poll_records=sizes.poll_records, poll_seconds=3.0, busy_poll_seconds=0.3, others_seconds_max=120.0)
