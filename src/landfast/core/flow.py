"""A flow: one route at work. Its lanes, its batches in flight, its committer; every decision about them is made here.

The main thread owns all state and never waits: it hands `prepare` to the pool and `land` to the committer and looks at the futures.
Whenever what is in flight can no longer land as it is (a conflict, a halt, a stream lost in mid batch) the flow *dissolves*: it forgets
everything read and not landed, and places its lanes anew at the sink's positions. The fence in the sink makes forgetting safe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, takewhile

from landfast import events
from landfast.core.batching import BatchLimits, full
from landfast.core.breaker import Breaker, BreakerLimits
from landfast.core.landing import InFlight, Landed, Landing, land
from landfast.core.lanes import Lane, LaneState
from landfast.core.ledger import Ledger
from landfast.core.prepare import Prepared, Work, prepare
from landfast.core.retry import Backoff, RetryPolicy
from landfast.errors import Conflict, LandfastError, Rejected, Unavailable
from landfast.model import Assignment, Bounds, Chunk, Cut, Halt, Position, Stream
from landfast.ports import Clock, DeadLetters, Decoder, Executor, Observer, Sink

_GROUP_BATCHES_MAX = 16


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """What bounds a flow.

    flight_batches_max  batches cut and not landed
    conflicts_max       conflicts in a row, without a landing between, before the lanes halt as PIPELINE_DUPLICATE
    maintain_landings   commits between two calls of `Sink.maintain`
    maintain_seconds    the budget of one such call
    """

    batch: BatchLimits = field(default_factory=BatchLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    flight_batches_max: int = 3
    conflicts_max: int = 10
    maintain_landings: int = 10
    maintain_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Route:
    """Which topics go to which sink, with their own decoder, limits and dead letters."""

    name: str
    takes: Callable[[str], bool]
    decoder: Decoder
    sink: Sink
    dead_letters: DeadLetters
    limits: FlowLimits = field(default_factory=FlowLimits)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a flow shares with the others: time, threads, chance, ears, and the one counter of epochs."""

    clock: Clock
    pool: Executor
    observer: Observer
    jitter: Callable[[], float]
    next_epoch: Callable[[], int]


class Flow:
    """One route at work. All methods are called from the main thread."""

    def __init__(self, route: Route, surroundings: Surroundings, committer: Executor) -> None:
        self.route = route
        self.lanes: dict[Stream, Lane] = {}
        self.ledger = Ledger()
        self.broken: LandfastError | None = None
        self._around = surroundings
        self._committer = committer
        self._in_flight: deque[InFlight] = deque()
        self._landing: Landing | None = None
        self._maintaining: Future[None] | None = None
        self._generation = 0
        self._batches = 0
        self._conflicts = 0
        self._landings_unmaintained = 0
        self._bounds: Mapping[Stream, Bounds] | None = None
        self._placing = Backoff(route.limits.retry)
        self._staging = Backoff(route.limits.retry)
        self._committing = Backoff(route.limits.retry)

    # ---- ownership ----

    def gain(self, streams: Collection[Stream]) -> dict[Stream, Assignment]:
        """Take these streams over and place them; what the sink cannot answer for now is left out and placed by a later turn."""
        for stream in streams:
            self.lanes[stream] = Lane(stream, Breaker(self.route.limits.breaker))
        return self.place(self._around.clock.monotonic())

    def release(self, streams: Collection[Stream]) -> int:
        """Let these streams go. What is in flight with them is forgotten, and the other lanes of those batches are placed anew.

        Returns how many of their records were read and have not landed.
        """
        going = [stream for stream in streams if stream in self.lanes]
        in_flight = self._streams_in_flight()
        all_abandoned = 0
        for stream in going:
            lane = self.lanes.pop(stream)
            abandoned = lane.records + sum(item.records.get(stream, 0) for item in self._all_in_flight())
            self._notice(events.StreamLost(self.route.name, stream, abandoned, drained=abandoned == 0))
            self.ledger.close(stream)
            all_abandoned += abandoned
        if in_flight.intersection(going):
            self._dissolve()
        return all_abandoned

    def place(self, now: float) -> dict[Stream, Assignment]:
        """Ask the sink where the unplaced lanes stand, and start them there under a new epoch.

        The claim comes first: after it no former owner can bury a letter, so the positions and burials read next stay true.
        """
        waiting = [stream for stream, lane in self.lanes.items() if lane.state is LaneState.UNPLACED]
        # A landing still under way may move the very positions that we would ask for.
        if not waiting or self._landing is not None or self._placing.waiting(now):
            return {}
        try:
            self.route.dead_letters.claim(waiting)
            positions = self.route.sink.positions(waiting)
            standing = {stream: position for stream, position in positions.items() if not isinstance(position, Halt)}
            buried = {stream: self.route.dead_letters.buried(stream, position or 0) for stream, position in standing.items()}
        except (Unavailable, Conflict) as error:
            self._retry(self._placing, error, now)
            return {}
        self._placing.succeeded()
        for stream, halt in positions.items():
            if isinstance(halt, Halt):
                self._stop_lane(stream, halt)
        return {stream: self._place(stream, position, frozenset(buried[stream])) for stream, position in standing.items()}

    def _place(self, stream: Stream, position: Position | None, buried: frozenset[int]) -> Assignment:
        lane = self.lanes[stream]
        lane.place(self._around.next_epoch(), position, buried)
        if self._bounds is not None:
            # A partition that was added after a bounded run began has nothing for it to read.
            lane.bound(self._bounds.get(stream, Bounds(0, 0)))
        self.ledger.open(stream, position)
        self._notice(events.StreamGained(self.route.name, stream, position, lane.epoch))
        return Assignment(position, lane.epoch)

    def bound(self, bounds: Mapping[Stream, Bounds]) -> None:
        """Make the run a bounded one: every lane stops at the end of its stream as it was when the run began."""
        self._bounds = {stream: extent for stream, extent in bounds.items() if self.route.takes(stream.topic)}
        for stream, lane in self.lanes.items():
            lane.bound(self._bounds.get(stream, Bounds(0, 0)))

    # ---- what the source brings ----

    def admit(self, chunk: Chunk, now: float) -> None:
        """Take in a chunk; one of an older epoch, or of a lane that is not running, is dropped and counted."""
        lane = self.lanes.get(chunk.stream)
        if lane is None or lane.epoch != chunk.epoch or lane.state is not LaneState.RUNNING:
            self._notice(events.StaleDropped(self.route.name, chunk.stream, len(chunk)))
            return
        lane.admit(chunk, now)
        self._notice(events.RecordsRead(self.route.name, chunk.stream, len(chunk), chunk.nbytes, chunk.end))

    def reach(self, stream: Stream, position: Position, now: float) -> None:
        """The source stands at `position` of a stream with nothing more to read."""
        lane = self.lanes.get(stream)
        if lane is not None and lane.state is LaneState.RUNNING:
            lane.reach(position, now)

    def confirm(self, stream: Stream, position: Position) -> None:
        """Everything of a stream below `position` is known to belong to its incarnation."""
        lane = self.lanes.get(stream)
        if lane is not None:
            lane.confirmed = max(lane.confirmed, position)

    def halt(self, stream: Stream, halt: Halt) -> None:
        """Stop one lane; the others go on from the sink's positions."""
        if stream not in self.lanes or self.lanes[stream].state is LaneState.HALTED:
            return
        self._stop_lane(stream, halt)
        if stream in self._streams_in_flight():
            self._dissolve()

    def _stop_lane(self, stream: Stream, halt: Halt) -> None:
        self.lanes[stream].stop(halt)
        self._notice(events.LaneHalted(self.route.name, stream, self.ledger.safe(stream), halt))

    # ---- the turn ----

    def turn(self, now: float, *, drain: bool = False) -> None:
        """Look at what has ended, cut what is ready, land what is prepared. `drain` cuts whatever waits."""
        if self.broken is not None:
            return
        self._end_landing(now)
        self._end_preparing(now)
        self._cut_ready(now, drain=drain)
        self._start_landing(now)
        self._maintain()

    def fail(self, error: LandfastError) -> None:
        """The flow is broken: every lane halts with the error's code, nothing more is landed by it."""
        self.broken = error
        self._halt_all(error)

    def _end_landing(self, now: float) -> None:
        landing = self._landing
        if landing is None or not landing.future.done():
            return
        self._landing = None
        current = landing.generation == self._generation
        try:
            landed = landing.future.result()
        except Conflict as error:
            if current:
                self._conflict(error, landing.group)
        except Rejected as error:
            if current:
                self._refuse(error, landing.group)
        except Unavailable as error:
            if current:
                self._in_flight.extendleft(reversed(landing.group))
                self._retry(self._committing, error, now)
        else:
            self._settle(landed, landing, current=current)

    def _settle(self, landed: Landed, landing: Landing, *, current: bool) -> None:
        for span in landed.receipt.spans:
            if current:
                self.ledger.settle(span)
            else:
                self.ledger.count(span)
        self._conflicts = 0
        self._committing.succeeded()
        self._landings_unmaintained += 1
        if landed.letters:
            reasons = Counter(letter.reason for letter in landed.letters)
            self._notice(events.LettersBuried(self.route.name, len(landed.letters), tuple(sorted(reasons.items()))))
        self._notice(events.BatchLanded(self.route.name, landed.receipt, len(landing.group)))

    def _conflict(self, error: Conflict, group: Sequence[InFlight] = ()) -> None:
        self._conflicts += 1
        self._notice(events.ConflictMet(self.route.name, error.code, error.message))
        self._dissolve(group)
        if self._conflicts >= self.route.limits.conflicts_max:
            message = f"{self._conflicts} conflicts in a row without one landing: another copy of this pipeline moves the same positions"
            self._halt_all(Conflict("PIPELINE_DUPLICATE", message, next_step="Stop the other copy, or give it another name and table."))

    def _refuse(self, error: Rejected, group: Sequence[InFlight]) -> None:
        """The sink refused rows at the commit: they are read again, and then they are letters."""
        for refusal in error.refusals:
            lane = self.lanes.get(refusal.stream)
            if lane is not None:
                lane.refused = {**lane.refused, refusal.offset: refusal}
        self._dissolve(group)

    def _end_preparing(self, now: float) -> None:
        for item in list(self._in_flight):
            if item.future is None or not item.future.done():
                continue
            future, item.future = item.future, None
            try:
                item.prepared = future.result()
            except Unavailable as error:
                self._retry(self._staging, error, now)
            except Conflict as error:
                self._conflict(error)
                return
            else:
                item.work = None
                item.nbytes = item.prepared.nbytes
                self._staging.succeeded()
                seconds = now - item.started_at
                self._notice(events.BatchPrepared(self.route.name, item.number, item.prepared.staged.rows, seconds))
        if not self._staging.waiting(now):
            for item in self._in_flight:
                if item.future is None and item.work is not None:
                    item.future = self._submit(item.work)

    def _submit(self, work: Work) -> Future[Prepared]:
        return self._around.pool.submit(partial(prepare, work, self.route.decoder, self.route.sink))

    def _cut_ready(self, now: float, *, drain: bool) -> None:
        limits = self.route.limits
        while len(self._in_flight) < limits.flight_batches_max:
            waiting = sorted((lane for lane in self.lanes.values() if lane.uncut), key=lambda lane: lane.waiting_since)
            if not waiting:
                return
            old = now - waiting[0].waiting_since >= limits.batch.seconds_max
            whole = all(lane.read_whole for lane in self.lanes.values() if lane.state is LaneState.RUNNING)
            if not (drain or old or whole or self._full()):
                return
            self._cut(waiting, now)

    def _cut(self, waiting: list[Lane], now: float) -> None:
        """Cut one batch, the lane that has waited longest first."""
        room = self.route.limits.batch.records_max
        cuts: list[Cut] = []
        nbytes = 0
        for lane in waiting:
            cut = lane.cut(room)
            if cut is None:
                break
            cuts.append(cut)
            room -= sum(len(chunk) for chunk in cut.chunks)
            nbytes += sum(chunk.nbytes for chunk in cut.chunks)
        records = {cut.stream: sum(len(chunk) for chunk in cut.chunks) for cut in cuts}
        buried = {cut.stream: self.lanes[cut.stream].buried for cut in cuts if self.lanes[cut.stream].buried}
        refused = {cut.stream: self.lanes[cut.stream].refused for cut in cuts if self.lanes[cut.stream].refused}
        self._batches += 1
        work = Work(self._batches, tuple(cuts), buried, refused, self._around.clock.now())
        ends = {cut.stream: cut.end for cut in cuts}
        item = InFlight(self._batches, ends, records, nbytes, now, work, self._submit(work))
        self._in_flight.append(item)
        self._notice(events.BatchCut(self.route.name, item.number, sum(records.values()), nbytes))

    def _start_landing(self, now: float) -> None:
        if self._landing is not None or self._committing.waiting(now):
            return
        group = tuple(islice(takewhile(self._landable, self._in_flight), _GROUP_BATCHES_MAX))
        for item in group:
            if not self._alive(item):
                return
        if group:
            for _ in group:
                self._in_flight.popleft()
            call = partial(land, group, self.route.sink, self.route.dead_letters)
            self._landing = Landing(group, self._generation, self._committer.submit(call))

    def _landable(self, item: InFlight) -> bool:
        return item.prepared is not None and all(self.lanes[stream].confirmed >= end for stream, end in item.ends.items())

    def _alive(self, item: InFlight) -> bool:
        """Count the batch's deaths, once; a lane whose breaker trips halts before any of them is buried."""
        if item.prepared is None or item.counted:
            return True
        item.counted = True
        for deaths in item.prepared.deaths:
            tripped = self.lanes[deaths.stream].breaker.count(deaths.ordinals, deaths.records)
            if tripped is not None:
                step = "See the reasons with `landfast dead-letters list`, mend the settings or the producer, or raise the limits; start again."
                self.halt(deaths.stream, Halt("DLQ_RATE", tripped, step))
                return False
        return True

    # ---- when something does not go on ----

    def _retry(self, backoff: Backoff, error: LandfastError, now: float) -> None:
        """Wait and try again; when retries are over the flow's lanes halt with everything intact."""
        wait = backoff.failed(now, self._around.jitter())
        if wait is None:
            self._halt_all(error)
            return
        kind = error.kind if isinstance(error, Unavailable) else "conflict"
        self._notice(events.RetryScheduled(self.route.name, error.code, kind, backoff.attempt, wait, error.message))

    def _halt_all(self, error: LandfastError) -> None:
        self._dissolve()
        for stream, lane in self.lanes.items():
            if lane.state is not LaneState.HALTED:
                self._stop_lane(stream, Halt(error.code, error.message, error.next_step))

    def _dissolve(self, group: Sequence[InFlight] = ()) -> None:
        """Forget everything in flight, and `group` that just was; its lanes ask the sink again where they stand."""
        touched = self._streams_in_flight().union(*(item.ends for item in group))
        self._in_flight.clear()
        self._generation += 1
        for stream in touched:
            lane = self.lanes.get(stream)
            if lane is not None and lane.state is LaneState.RUNNING:
                lane.unplace()

    def _maintain(self) -> None:
        """Let the sink tidy up between landings; what it cannot do today it says and does another day."""
        if self._maintaining is not None:
            if not self._maintaining.done():
                return
            ended, self._maintaining = self._maintaining, None
            try:
                ended.result()
            except (Unavailable, Conflict) as error:
                self._notice(events.Notice(self.route.name, error.code, f"maintenance is put off: {error.message}"))
        due = self._landings_unmaintained >= self.route.limits.maintain_landings
        if due and self._landing is None:
            self._landings_unmaintained = 0
            self._maintaining = self._committer.submit(partial(self.route.sink.maintain, self.route.limits.maintain_seconds))

    # ---- what the runner asks ----

    def held(self) -> set[Stream]:
        """Streams that should not be read now: halted, unplaced, read to the end, or all of them while the flow is full."""
        crowded = len(self._in_flight) >= self.route.limits.flight_batches_max and self._full()
        return {stream for stream, lane in self.lanes.items() if crowded or lane.state is not LaneState.RUNNING or lane.read_whole}

    def _full(self) -> bool:
        lanes = self.lanes.values()
        return full(self.route.limits.batch, sum(lane.records for lane in lanes), sum(lane.nbytes for lane in lanes))

    def busy(self, streams: Collection[Stream] | None = None) -> bool:
        """Whether something of these streams (or of any) was read and has not landed yet."""
        asked = self.lanes.keys() if streams is None else streams
        uncut = any(self.lanes[stream].uncut for stream in asked if stream in self.lanes)
        return uncut or bool(self._streams_in_flight().intersection(asked)) or (streams is None and self._landing is not None)

    @property
    def finished(self) -> bool:
        """Whether every lane of a bounded run is read and landed to its end, or halted."""
        lanes = self.lanes.values()
        return not self.busy() and all(lane.state is LaneState.HALTED or lane.read_whole for lane in lanes)

    @property
    def landing(self) -> bool:
        """Whether a commit is under way."""
        return self._landing is not None and not self._landing.future.done()

    @property
    def nbytes(self) -> int:
        """Bytes of records and staged rows held."""
        return sum(lane.nbytes for lane in self.lanes.values()) + sum(item.nbytes for item in self._all_in_flight())

    @property
    def halts(self) -> dict[Stream, Halt]:
        """The lanes that stand still, and why."""
        return {stream: lane.halt for stream, lane in self.lanes.items() if lane.halt is not None}

    def _all_in_flight(self) -> list[InFlight]:
        return [*(self._landing.group if self._landing else ()), *self._in_flight]

    def _streams_in_flight(self) -> set[Stream]:
        return {stream for item in self._all_in_flight() for stream in item.ends}

    def _notice(self, event: events.Event) -> None:
        self._around.observer.notice(event)
