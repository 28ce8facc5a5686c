"""The loop: one source, many flows. It polls, deals out, lets each flow take its turn, and never waits for a sink."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from landfast import events
from landfast.core.flow import Flow
from landfast.core.lanes import LaneState
from landfast.core.outlook import Outlook
from landfast.core.report import RunReport, gravest, outcome_of
from landfast.core.retry import Backoff, RetryPolicy
from landfast.core.route import Route, Surroundings
from landfast.errors import Broken, ErrorClass, LandfastError, Unavailable, halt_of
from landfast.model import Assignment, Bounds, Halt, Poll, Position, Run, Stream
from landfast.ports import Clock, Executor, Extent, Observer, Source

P = ParamSpec("P")
T = TypeVar("T")
_DRAIN_TICK_SECONDS = 0.005
_OPEN_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What bounds a run.

    poll_records       records of one poll
    poll_seconds       longest wait of a poll while nothing else is due
    busy_poll_seconds  the same while work is in flight
    memory_bytes_max   records and staged rows of all flows, each of which has the same share of it
    shutdown_seconds   how long a stop may take to land what was read
    close_seconds_max  how long the end waits for calls that still run on other threads
    extent_seconds     between two looks at the source's ends
    short_seconds_max  how long a log may be shorter than a bounded run must read before its lane halts
    others_seconds_max how long a bounded run waits for a stream of another member of the group that does not move
    open               how patient to be with a source that does not answer at the start
    """

    poll_records: int = 10_000
    poll_seconds: float = 0.1
    busy_poll_seconds: float = 0.02
    memory_bytes_max: int = 512 * 1024 * 1024
    shutdown_seconds: float = 30.0
    close_seconds_max: float = 2.0
    extent_seconds: float = 5.0
    short_seconds_max: float = 30.0
    others_seconds_max: float = 900.0
    open: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts_max=1_000, wait_seconds_max=5.0, total_seconds_max=60.0))


@dataclass(frozen=True, slots=True)
class Workplace:
    """Time, threads, ears and chance: whatever the engine takes from outside.

    pool       called once per flow, and once for what all flows share: an executor that decodes and stages
    committer  called once per flow: an executor of one thread, so that a flow's commits are in order
    jitter     a number in [0, 1)
    """

    clock: Clock
    pool: Callable[[], Executor]
    committer: Callable[[], Executor]
    observer: Observer
    jitter: Callable[[], float]


class Runner:
    """One execution. Build it, call `run` once; `stop` may be called from any thread or a signal handler.

    It is its own `Membership`: the source tells it which streams come and go.
    """

    def __init__(
        self, source: Source, extent: Extent, routes: Sequence[Route], run: Run, limits: RunnerLimits, workplace: Workplace
    ) -> None:
        epochs = itertools.count(1)
        surroundings = [
            Surroundings(
                workplace.clock,
                workplace.pool(),
                workplace.committer(),
                workplace.observer,
                workplace.jitter,
                lambda: next(epochs),
                limits.memory_bytes_max // len(routes),
            )
            for _ in routes
        ]
        self.flows = tuple(Flow(route, around) for route, around in zip(routes, surroundings, strict=True))
        looking = workplace.pool()
        self._executors = [looking, *(executor for around in surroundings for executor in (around.pool, around.committer))]
        self._source = source
        self._extent = extent
        self._run = run
        self._limits = limits
        self._workplace = workplace
        self._stopping = False
        self._closing = False
        self._abandoned = self._waiting = 0
        self._elsewhere: dict[Stream, Halt] = {}
        self._halts: dict[Stream, Halt] = {}
        self._acknowledged: dict[Stream, Position] = {}
        self._ends: Mapping[Stream, Bounds] = {}
        self._outlook = Outlook(
            extent,
            looking,
            workplace.observer,
            every_seconds=limits.extent_seconds,
            short_seconds_max=limits.short_seconds_max,
            others_seconds_max=limits.others_seconds_max,
        )

    def stop(self) -> None:
        """Ask for a graceful end: land what is read within the shutdown deadline, then return from `run`."""
        self._stopping = True

    def run(self, *, until_end: bool = False) -> RunReport:
        """Run until stopped, or with `until_end` until everything that the log held at the start has landed. Never raises."""
        started = self._workplace.clock.monotonic()
        guarantees = ", ".join(sorted({f"{flow.route.sink.guarantee.level}" for flow in self.flows}))
        self._notice(events.RunStarted("", self._run.id, guarantees))
        error: LandfastError | None = None
        try:
            if self._open(until_end=until_end):
                self._loop(until_end=until_end)
        except LandfastError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - the top of the runner: nothing may leave it unreported
            error = unexpected(raised)
        error = self._close() or error
        report = self._report(error, self._workplace.clock.monotonic() - started)
        self._notice(events.RunEnded("", self._run.id, report.outcome, report.totals, report.seconds))
        return report

    # ---- Membership ----

    def gained(self, streams: Collection[Stream]) -> Mapping[Stream, Assignment]:
        """See `ports.Membership`."""
        takers = {stream: [flow for flow in self.flows if flow.route.takes(stream.topic)] for stream in streams}
        for stream, flows in takers.items():
            if len(flows) != 1:
                count = "no route" if not flows else f"{len(flows)} routes"
                self._notice(events.Notice("", "TOPIC_UNROUTED", f"{stream} is taken by {count}: it is not read"))
        for flow in self.flows:
            mine = [stream for stream, flows in takers.items() if flows == [flow]]
            if flow.broken is None:
                flow.gain(mine)
                for stream in mine:
                    self._elsewhere.pop(stream, None)
            else:
                self._halt_elsewhere(flow, dict.fromkeys(mine, halt_of(flow.broken)))
        # Where they start is asked on the committers, which may take a while; a turn of the loop then rewinds them.
        return {}

    def lost(self, streams: Collection[Stream], deadline_seconds: float, confirmed: Mapping[Stream, Position]) -> None:
        """See `ports.Membership`. What still can land does so within the deadline, while the main thread waits here."""
        clock = self._workplace.clock
        deadline = clock.monotonic() + deadline_seconds
        for stream, position in confirmed.items():
            for flow in self.flows:
                flow.confirm(stream, position)
        flows = [flow for flow in self.flows if flow.broken is None]
        while not self._closing and clock.monotonic() < deadline and any(flow.busy(streams) and not flow.blocked for flow in flows):
            for flow in flows:
                self._guarded(flow, flow.turn, clock.monotonic(), drain=True)
            clock.sleep(_DRAIN_TICK_SECONDS)
        for flow in self.flows:
            abandoned = flow.release(streams)
            # What went to another owner in the middle of the run is read again by now, and nothing that its end leaves behind.
            if self._stopping or self._closing:
                self._abandoned += abandoned
        for stream in streams:
            self._acknowledged.pop(stream, None)

    # ---- the loop ----

    def _open(self, *, until_end: bool) -> bool:
        """Open the source, patiently; False when the run was stopped before anybody answered, or when there is nothing to read."""
        backoff = Backoff(self._limits.open)
        clock = self._workplace.clock
        while not self._stopping:
            if backoff.waiting(clock.monotonic()):
                clock.sleep(_OPEN_TICK_SECONDS)
                continue
            try:
                if until_end and not self._ends:
                    self._ends = self._extent.bounds()
                    for flow in self.flows:
                        flow.bound(self._ends)
                if until_end and self._landed_already():
                    return False
                self._source.open(self)
            except Unavailable as error:
                wait = backoff.failed(clock.monotonic(), self._workplace.jitter())
                if wait is None:
                    raise
                self._notice(events.RetryScheduled("", error.code, error.kind, backoff.attempt, wait, error.message))
            else:
                return True
        return False

    def _landed_already(self) -> bool:
        """Whether the sinks hold everything that a bounded run would read: then there is no group to join, and none to leave.

        A sink that does not say is no reason to keep the others waiting: its own flow asks it again.
        """
        for flow in self.flows:
            if flow.broken is not None:
                continue
            ends = {stream: bounds.end for stream, bounds in self._ends.items() if flow.route.takes(stream.topic)}
            try:
                standings = flow.route.sink.positions(tuple(ends))
            except LandfastError:
                return False
            for stream, position in standings.items():
                if isinstance(position, Halt) or position is None or position < ends[stream]:
                    return False
        return True

    def _loop(self, *, until_end: bool) -> None:
        clock = self._workplace.clock
        deadline: float | None = None
        while True:
            drain = self._stopping
            if drain and deadline is None:
                deadline = clock.monotonic() + self._limits.shutdown_seconds
            self._deal(self._source.poll(self._limits.poll_records, self._patience(), self._hold(drain=drain)))
            now = clock.monotonic()
            self._take_turns(now, drain=drain)
            if deadline is not None and (now >= deadline or not any(flow.busy() or flow.reading_again for flow in self.flows)):
                return
            if self._stuck() or (until_end and self._finished(now)):
                return
            self._outlook.look(self.flows, self._ends, now)

    def _patience(self) -> float:
        busy = any(flow.busy() for flow in self.flows)
        return self._limits.busy_poll_seconds if busy else self._limits.poll_seconds

    def _hold(self, *, drain: bool) -> set[Stream]:
        """What must not be read now. At a stop nothing new is read, and what had to be forgotten meanwhile is read again."""
        held = set[Stream]().union(*(flow.held() for flow in self.flows))
        if drain:
            held |= {stream for flow in self.flows for stream in flow.lanes.keys() - flow.reading_again}
        return held

    def _deal(self, poll: Poll) -> None:
        now = self._workplace.clock.monotonic()
        for flow in self.flows:
            self._guarded(flow, flow.take, poll, now)

    def _take_turns(self, now: float, *, drain: bool) -> None:
        for flow in self.flows:
            self._guarded(flow, flow.turn, now, drain=drain)
            if flow.broken is None and (flow.reading_again or not drain):
                placed = self._guarded(flow, flow.place, now)
                if placed:
                    self._source.rewind(placed)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell the source what the sinks hold: never more."""
        news = {
            stream: position
            for flow in self.flows
            for stream in flow.lanes
            if (position := flow.ledger.safe(stream)) is not None and position != self._acknowledged.get(stream)
        }
        if news:
            self._source.acknowledge(news)
            self._acknowledged |= news

    def _guarded(self, flow: Flow, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Run a flow's step; what breaks it breaks this flow only."""
        try:
            return step(*args, **kwargs)
        except LandfastError as error:
            flow.fail(error)
        except Exception as error:  # noqa: BLE001 - the top of the runner: nothing may leave it unreported
            flow.fail(unexpected(error))
        return None

    # ---- when to end ----

    def _stuck(self) -> bool:
        """Whether nothing can go on: every flow is broken, or every lane we have is halted."""
        if all(flow.broken is not None for flow in self.flows):
            return True
        if any(lane.state is not LaneState.HALTED for flow in self.flows for lane in flow.lanes.values()):
            return False
        return any(flow.lanes for flow in self.flows) and not any(flow.busy() for flow in self.flows)

    def _finished(self, now: float) -> bool:
        """Whether a bounded run is over: our lanes are done, and so are, as the sinks say, those of other members of the group."""
        if not all(flow.broken is not None or flow.finished for flow in self.flows):
            return False
        for flow in self.flows:
            theirs = {
                stream
                for stream, bounds in self._ends.items()
                if flow.broken is None and flow.route.takes(stream.topic) and stream not in flow.lanes and bounds.end
            }
            theirs -= self._elsewhere.keys()
            gone = self._outlook.gone(theirs)
            self._halt_elsewhere(flow, gone)
            theirs -= gone.keys()
            if not theirs:
                continue
            others = self._outlook.others(flow.route, theirs, self._ends, now)
            self._halt_elsewhere(flow, others.halts)
            if not others.landed:
                return False
        return True

    def _halt_elsewhere(self, flow: Flow, halts: Mapping[Stream, Halt]) -> None:
        """Streams without a lane here that cannot be landed, or not by us: the report names them like a halted lane."""
        self._elsewhere.update(halts)
        for stream, halt in halts.items():
            self._notice(events.LaneHalted(flow.route.name, stream, None, halt))

    def _close(self) -> LandfastError | None:
        """Let go of everything, whatever went before; the first error met on the way."""
        self._closing = True
        self._halts = self._elsewhere | {stream: halt for flow in self.flows for stream, halt in flow.halts.items()}
        met: LandfastError | None = None
        self._wait_for_calls()
        self._waiting = sum(flow.waiting for flow in self.flows)
        landing = {flow: flow.landing for flow in self.flows}
        closers = [self._source.close, *(executor.close for executor in self._executors)]
        for flow in self.flows:
            # A sink in the middle of a commit that does not return is left alone: the fence makes its late success harmless.
            if not landing[flow]:
                closers += [flow.route.sink.close, flow.route.dead_letters.close]
        for close in closers:
            error = _failure_of(close)
            if error is not None:
                self._notice(events.Notice("", error.code, f"while closing: {error.message}"))
                met = met or (error if isinstance(error, Broken) else None)
        self._abandoned += sum(flow.release(tuple(flow.lanes)) for flow in self.flows)
        return met

    def _wait_for_calls(self) -> None:
        """Give calls that are still inside a driver a moment: a process that ends under one of them may crash in native code."""
        clock = self._workplace.clock
        deadline = clock.monotonic() + self._limits.close_seconds_max
        while any(flow.at_work for flow in self.flows) and clock.monotonic() < deadline:
            clock.sleep(_DRAIN_TICK_SECONDS)
        for flow in self.flows:
            self._guarded(flow, flow.end_landing, clock.monotonic())

    def _report(self, error: LandfastError | None, seconds: float) -> RunReport:
        broken = gravest([one for one in (error, *(flow.broken for flow in self.flows)) if one is not None])
        streams = {stream: totals for flow in self.flows for stream, totals in flow.ledger.totals().items()}
        outcome = outcome_of(broken, self.flows, self._halts, stopping=self._stopping)
        batches = sum(flow.ledger.batches for flow in self.flows)
        retries = sum((flow.ledger.retries for flow in self.flows), Counter[ErrorClass]())
        return RunReport(self._run, outcome, streams, self._halts, seconds, self._abandoned, broken, self._waiting, batches, retries)

    def _notice(self, event: events.Event) -> None:
        self._workplace.observer.notice(event)


def _failure_of(close: Callable[[], object]) -> LandfastError | None:
    """What closing something raised, as an error of ours: what comes after it is closed all the same, and the run has its report."""
    try:
        close()
    except LandfastError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the top of the runner: nothing may leave it unreported
        return unexpected(error)
    return None


def unexpected(error: Exception) -> Broken:
    """An exception that no adapter mapped: a defect of ours, named by its class, its text kept out of the message; or no memory is left."""
    if isinstance(error, MemoryError):
        next_step = "Lower `engine.memory_bytes` or `batch.bytes`, or give the process more memory, then start again."
        exhausted = Broken("MEMORY_EXHAUSTED", "the process could not get the memory that it asked for", next_step=next_step)
        exhausted.__cause__ = error
        return exhausted
    next_step = "Report it with its traceback: it is in the log, and for a program it is the `__cause__` of this error."
    broken = Broken("UNEXPECTED", f"an unexpected {type(error).__name__} reached the engine", next_step=next_step)
    broken.__cause__ = error
    return broken
