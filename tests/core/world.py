"""A small world for crashing the engine in: one log, one table, one letter store, and processes that come and go over them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.report import Outcome, RunReport
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.core.upkeep import UpkeepLimits
from landfast.model import Run, Stream
from landfast.ports import Executor
from landfast.testing.clock import ManualClock
from landfast.testing.executor import InlineExecutor, SteppedExecutor
from landfast.testing.faults import Call, Crashed, Fault, FaultPlan
from landfast.testing.faulty import FaultyDeadLetters, FaultyLetterStore, FaultyObserver, FaultySink, FaultySource, FaultyTable
from landfast.testing.ledger import Verdict, ahead, audit, passed_before_buried
from landfast.testing.memory import (
    LineDecoder,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemoryLog,
    MemorySink,
    MemorySinkSettings,
    MemorySource,
    MemorySourceSettings,
    MemoryTable,
    RecordingObserver,
)
from landfast.testing.world.workers import POISON, fate, refuse_poison

Between = Callable[[int, Call], object]
"""Called before each call of a port, with its number."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How finely the work is cut: small enough that everything happens more than once."""

    batch_records: int = 3
    flight_batches: int = 3
    poll_records: int = 5
    chunk_records: int = 2
    checks_apart: int = 1
    checks: str = "before"
    maintain_landings: int = 2
    piece_records: int = 2
    retry_seconds: float = 300.0


@dataclass(slots=True)
class World:
    """What outlives a process, and the check of it."""

    sizes: Sizes = field(default_factory=Sizes)
    log: MemoryLog = field(default_factory=MemoryLog)
    table: MemoryTable = field(default_factory=MemoryTable)
    store: MemoryLetterStore = field(default_factory=MemoryLetterStore)
    group: MemoryGroup = field(init=False)
    _members: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    violations: list[str] = field(default_factory=list)
    _acknowledgements_seen: int = 0
    _commits_seen: int = 0

    def __post_init__(self) -> None:
        """Write the log: good and bad lines, a tombstone, gaps in the middle and at both ends, what the table refuses, an empty stream."""
        self.log.create("t", 3)
        self.group = MemoryGroup(self.log, ["t"])
        self.log.append_marker("t", 0)
        for value in (b"a", b"bad 1", b"b", None, b"c", POISON, b"d"):
            self.log.append("t", 0, value, key=b"k", headers=(("h", value),))
        self.log.append_marker("t", 0, 2)
        for value in (b"bad 2", b"bad 3", b"e"):
            self.log.append("t", 1, value, timestamp=7)
        self.log.append_marker("t", 1)
        for value in (b"f", b"g"):
            self.log.append("t", 1, value)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams of the log."""
        return self.log.streams()

    def process(self, *faults: Fault, between: Between | None = None, seed: int | None = None) -> Process:
        """A new process, with a member name of its own; see `Process`."""
        return Process(self, f"member-{next(self._members)}", faults, between, seed)

    def run_to_the_end(self) -> RunReport:
        """Run a process that nothing befalls, and expect it to finish."""
        report = self.process().run()
        assert report.outcome is Outcome.FINISHED, report
        assert report.totals.holds
        return report

    def check_now(self) -> None:
        """What must hold at every moment: nothing acknowledged that is not held, no record passed before its letter is buried.

        What does not hold is kept for `check_end`: an error raised here would be taken for one of the port.
        """
        news = self.group.acknowledged[self._acknowledgements_seen :]
        self._acknowledgements_seen += len(news)
        if news:
            self.violations += [f"acknowledged ahead: {each}" for each in ahead(news, self.table.positions)]
        commits = self.table.commits[self._commits_seen :]
        self._commits_seen += len(commits)
        for commit in commits:
            self.violations += [
                f"passed before buried: {place}" for place in passed_before_buried(commit, self.log.truth(), self.store.letters, fate)
            ]

    def verdict(self) -> Verdict:
        """The ledger over everything."""
        return audit(self.log.truth(), self.table.commits, self.store.letters, fate)

    def check_safe(self) -> None:
        """Nothing is lost, doubled or wrong, though something may still be to do."""
        verdict = replace(self.verdict(), pending=())
        assert verdict.clean, str(verdict)
        assert self.violations == []

    def check_end(self) -> None:
        """Everything that was written is in exactly one place, once, unchanged, in order and accounted for."""
        self.check_now()
        verdict = self.verdict()
        assert verdict.clean, str(verdict)
        assert self.violations == []


class Process:
    """One execution of the engine over a world.

    With a seed, staged work and commits go on in an order that the seed chooses, whenever the engine polls or waits; without one they
    are done at once. After a crash nothing is left of it but what the world holds, and its session has expired.
    """

    def __init__(self, world: World, member: str, faults: Sequence[Fault], between: Between | None, seed: int | None) -> None:
        self.observer = RecordingObserver()
        self.member = member
        self.crashed = False
        self.plan = FaultPlan(faults, self._before_call, world.check_now)
        self._world = world
        self._between = between
        self._chance = random.Random(seed)
        self._executors: list[SteppedExecutor] = []
        self._seed = seed
        self._clock = ManualClock(self._go_on)
        self.runner = self._build()

    def run(self, *, until_end: bool = True) -> RunReport:
        """Run.

        Raises:
            Crashed: the plan said so.
        """
        try:
            return self.runner.run(until_end=until_end)
        except Crashed:
            self.crashed = True
            self._world.group.leave(self.member)
            raise

    def survives(self) -> RunReport | None:
        """Run, and return the report, or None where it crashed."""
        try:
            return self.run()
        except Crashed:
            return None

    def _build(self) -> Runner:
        world, sizes, plan = self._world, self._world.sizes, self.plan
        settings = MemorySourceSettings(chunk_records_max=sizes.chunk_records, checks_apart=sizes.checks_apart, checks=sizes.checks)
        reader = MemorySource(world.group, self.member, self._clock, settings)
        source = FaultySource(reader, reader, plan)
        sink = MemorySink(FaultyTable(world.table, plan), self.member, MemorySinkSettings(refuse_at_commit=refuse_poison))
        letters = MemoryDeadLetters(FaultyLetterStore(world.store, plan))
        limits = FlowLimits(
            batch=BatchLimits(records_max=sizes.batch_records),
            piece=PieceLimits(records_max=sizes.piece_records, waiting_max=4),
            breaker=BreakerLimits(share_max=1.0),
            retry=RetryPolicy(total_seconds_max=sizes.retry_seconds),
            flight_batches_max=sizes.flight_batches,
            upkeep=UpkeepLimits(landings_between=sizes.maintain_landings),
        )
        route = Route("route", lambda _: True, LineDecoder(), FaultySink(sink, plan), FaultyDeadLetters(letters, plan), limits)
        workplace = Workplace(
            self._clock, lambda: self._executor(64), lambda: self._executor(1), FaultyObserver(self.observer, plan), lambda: 0.5
        )
        run = Run(self.member, "pipeline", "settings", 0.0)
        return Runner(source, source, [route], run, RunnerLimits(poll_records=sizes.poll_records), workplace)

    def _executor(self, ahead: int) -> Executor:
        if self._seed is None:
            return InlineExecutor()
        self._executors.append(SteppedExecutor(self._chance.random(), ahead))
        return self._executors[-1]

    def _before_call(self, number: int, call: Call) -> None:
        if call == Call("source", "poll"):
            self._go_on()
        if self._between is not None:
            self._between(number, call)

    def _go_on(self) -> None:
        for _ in range(self._chance.randint(0, 3) if self._executors else 0):
            self._chance.choice(self._executors).step()
