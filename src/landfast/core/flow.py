"""A flow: one route at work. Its lanes, its batches in flight, its committer; every decision about them is made here.

The main thread owns all state and never waits: it hands `prepare` to the pool and `land` to the committer and looks at the futures.
Whenever what is in flight can no longer land as it is (a conflict, a halt, a stream lost in mid batch) the flow *dissolves*: it forgets
everything read and not landed, and places its lanes anew at the sink's positions. The fence in the sink makes forgetting safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from landfast import events
from landfast.core.asking import Asking, Standing
from landfast.core.breaker import Breaker
from landfast.core.contest import Contest
from landfast.core.flight import Flight, trips
from landfast.core.intake import Intake
from landfast.core.landing import InFlight, Landed, in_flight
from landfast.core.lanes import Lane, LaneState
from landfast.core.later import Attempts
from landfast.core.ledger import Ledger
from landfast.core.retry import Backoff
from landfast.core.room import Room
from landfast.core.route import Route, Surroundings
from landfast.core.upkeep import Upkeep
from landfast.errors import Conflict, LandfastError, Rejected, Unavailable, check, class_of, halt_of
from landfast.model import Assignment, Bounds, Halt, Poll, Position, Stream


class Flow:
    """One route at work. All methods are called from the main thread."""

    def __init__(self, route: Route, surroundings: Surroundings) -> None:
        self.route = route
        self._intake = Intake(route, surroundings)
        self.lanes = self._intake.lanes
        self.ledger = Ledger()
        self.broken: LandfastError | None = None
        self._limits = limits = route.limits
        self._around = surroundings
        self._flight = Flight(route, surroundings.pool, surroundings.committer)
        self._attempts = Attempts(route, surroundings, self.lanes, self.ledger)
        self._upkeep = Upkeep(route.name, route.sink, surroundings.committer, surroundings.observer, limits.upkeep)
        self._contest = Contest(route.name, surroundings.observer, limits.conflicts_max)
        self._room = Room(route, surroundings, self._intake, self._flight)
        self._bounds: Mapping[Stream, Bounds] | None = None
        self._asking = Asking(route, surroundings.committer)
        self._staging = Backoff(limits.retry, limits.retry_by_class)
        self._committing = Backoff(limits.retry, limits.retry_by_class)

    # ---- ownership ----

    def gain(self, streams: Collection[Stream]) -> None:
        """Take these streams over; a later turn places them, when the sink has said where they stand.

        Of a topic that was created again the old incarnation goes: one commit cannot hold both.
        """
        places = {(stream.topic, stream.partition) for stream in streams}
        self.release([stream for stream in self.lanes if (stream.topic, stream.partition) in places])
        for stream in streams:
            self.lanes[stream] = Lane(stream, Breaker(self._limits.breaker))

    def release(self, streams: Collection[Stream]) -> int:
        """Let these streams go. What is in flight with them is forgotten, and the other lanes of those batches are placed anew.

        Returns how many of their records were read and have not landed.
        """
        going = [stream for stream in streams if stream in self.lanes]
        in_flight = self._flight.streams
        all_abandoned = 0
        for stream in going:
            lane = self.lanes.pop(stream)
            abandoned = lane.unlanded(sum(item.records.get(stream, 0) for item in self._flight))
            lane.forget()
            lane.state = LaneState.RELEASED
            self._notice(events.StreamLost(self.route.name, stream, abandoned, drained=abandoned == 0))
            self.ledger.close(stream)
            all_abandoned += abandoned
        if in_flight.intersection(going):
            self._dissolve()
        return all_abandoned

    def place(self, now: float) -> dict[Stream, Assignment]:
        """Start the lanes whose positions have arrived, under a new epoch, and ask for those of the lanes that have none.

        The source must be told of what is returned before it is polled again: what it says of a lane belongs to the epoch it was told last.
        """
        placed: dict[Stream, Assignment] = {}
        try:
            standings = self._asking.answered(self.lanes)
        except (Unavailable, Conflict) as error:
            self._retry(self._asking.backoff, error, now)
            standings = {}
        for stream, standing in standings.items():
            if isinstance(standing.position, Halt):
                self._stop_lane(stream, standing.position)
            else:
                placed[stream] = self._place(stream, standing.position, standing)
        self._asking.ask(self.lanes, now)
        return placed

    def _place(self, stream: Stream, position: Position | None, standing: Standing) -> Assignment:
        lane = self.lanes[stream]
        lane.place(self._around.next_epoch(), position, standing.buried)
        self._attempts.placed(lane, standing.waiting)
        if self._bounds is not None:
            # A partition that was added after a bounded run began has nothing for it to read.
            lane.bound(self._bounds.get(stream, Bounds(0, 0)))
        self.ledger.open(stream, position)
        self._notice(events.StreamGained(self.route.name, stream, position, lane.epoch))
        return Assignment(lane.read_to, lane.epoch)

    def bound(self, bounds: Mapping[Stream, Bounds]) -> None:
        """Make the run a bounded one, before it has lanes: each will stop at the end of its stream as it is now."""
        self._bounds = bounds

    # ---- what the source brings ----

    def take(self, poll: Poll, now: float) -> None:
        """Take in what a poll brought of this flow's topics, in the order in which it holds: records, ends, confirmations, halts."""
        for chunk in poll.chunks:
            if self.route.takes(chunk.stream.topic):
                self._intake.admit(chunk, now)
        self._intake.decode_ahead()
        for stream, position in poll.reached.items():
            lane = self.lanes.get(stream)
            if lane is not None and lane.state is LaneState.RUNNING:
                lane.reach(position, now)
        for stream, position in poll.confirmed.items():
            self.confirm(stream, position)
        for stream, halt in poll.halted.items():
            self.halt(stream, halt)
        for stream, halt in poll.halting.items():
            lane = self.lanes.get(stream)
            # A lane that is to be placed anew is read again up to there, and told again.
            if lane is not None and lane.state is LaneState.RUNNING:
                lane.end(halt)

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
        if stream in self._flight.streams:
            self._dissolve()

    def _stop_lane(self, stream: Stream, halt: Halt) -> None:
        self.lanes[stream].stop(halt)
        self._notice(events.LaneHalted(self.route.name, stream, self.ledger.safe(stream), halt))

    # ---- the turn ----

    def turn(self, now: float, *, drain: bool = False) -> None:
        """Look at what has ended, cut what is ready, land what is prepared. `drain` cuts whatever waits."""
        self.end_landing(now)
        if self.broken is not None:
            return
        self._end_preparing(now)
        # What is crowded makes room: rows may be so much wider than records that a batch never fills.
        self._cut_ready(now, drain=drain or self._room.crowded)
        # Landings and attempts take turns: neither waits for more than one of the other.
        if self._end_attempts(now) or drain or self._flight.landing or self._asking.open or not self._attempts.start(now):
            self._start_landing(now)
        self._end_lanes()
        self._contest.turn(now)
        self._attempts.look()
        self._upkeep.turn(landing=self._flight.landing)
        self._room.look(busy=self.busy())

    def _end_attempts(self, now: float) -> bool:
        """Take in what a round of attempts has come to, if it has ended."""
        ended = self._attempts.ended()
        if ended is None:
            return False
        try:
            self._read_again(self._attempts.take_in(ended, now, self._flight.streams))
            self._contest.landed()
        except Conflict as error:
            if current := self._attempts.current(ended):
                self._conflict(error, now)
                self._read_again(current)
        except Unavailable as error:
            self._retry(self._attempts.backoff, error, now)
        return True

    def _read_again(self, streams: Collection[Stream]) -> None:
        """What is in hand of these streams does not stand any more: it is forgotten, with what else is in flight, and read again."""
        if self._flight.streams.intersection(streams):
            self._dissolve()
        for stream in streams:
            if self.lanes[stream].going:
                self.lanes[stream].unplace()

    def _end_lanes(self) -> None:
        """Halt the lanes that were to land what they took, and have."""
        for stream, lane in self.lanes.items():
            if lane.state is LaneState.HALTING and lane.halt is not None and not self.busy((stream,)):
                self._stop_lane(stream, lane.halt)

    def fail(self, error: LandfastError) -> None:
        """The flow is broken: every lane halts with the error's code, nothing more is landed by it."""
        self.broken = error
        self._halt_all(error)

    def end_landing(self, now: float) -> None:
        """Take in what became of the commit under way, if it has ended; also where the flow broke meanwhile."""
        landing = self._flight.take_landed()
        if landing is None:
            return
        current = self._flight.current(landing)
        try:
            landed = landing.future.result()
        except Conflict as error:
            if current:
                self._conflict(error, now, landing.group)
            else:
                self._contest.told(error)
        except Rejected as error:
            if current:
                self._refuse(error, landing.group)
        except Unavailable as error:
            if current:
                self._flight.put_back(landing)
                self._retry(self._committing, error, now)
        else:
            self._settle(landed, len(landing.group), current=current)

    def _settle(self, landed: Landed, batches: int, *, current: bool) -> None:
        take_in = self.ledger.settle if current else self.ledger.count
        for span in landed.receipt.spans:
            take_in(span)
        self.ledger.batches += batches
        if current:
            self._attempts.landed(landed)
        self._contest.landed()
        self._committing.succeeded()
        self._upkeep.landed()
        self._intake.widen()
        if landed.letters:
            reasons = Counter(letter.reason for letter in landed.letters)
            self._notice(events.LettersBuried(self.route.name, len(landed.letters), tuple(sorted(reasons.items()))))
        self._notice(events.BatchLanded(self.route.name, landed.receipt, batches))

    def _conflict(self, error: Conflict, now: float, group: Sequence[InFlight] = ()) -> None:
        duplicate = self._contest.met(error, now)
        self._dissolve(group)
        if duplicate is not None:
            self._halt_all(duplicate)

    def _refuse(self, error: Rejected, group: Sequence[InFlight] = ()) -> None:
        """The sink refused rows: they are read again, and then they are letters."""
        fresh = [refusal for refusal in error.refusals if refusal.offset not in self.lanes[refusal.stream].refused]
        check(bool(fresh), "a sink rejected a batch without naming a new row")
        if error.code == "ROWS_ISOLATED":
            self._notice(events.Notice(self.route.name, error.code, error.message))
        for refusal in fresh:
            lane = self.lanes[refusal.stream]
            lane.refused = {**lane.refused, refusal.offset: refusal}
        self._dissolve(group)

    def _end_preparing(self, now: float) -> None:
        try:
            for item, prepared in self._flight.take_prepared():
                item.stale = self._attempts.learn(prepared.letters)
                self._staging.succeeded()
                self._notice(events.BatchPrepared(self.route.name, item.number, prepared.staged.rows, now - item.started_at))
        except Unavailable as error:
            # Several batches that fail together are one failure of the sink, not several.
            if not self._staging.waiting(now):
                self._retry(self._staging, error, now)
        except Conflict as error:
            self._conflict(error, now)
        except Rejected as error:
            self._refuse(error)
        if not self._staging.waiting(now):
            self._flight.go_on_preparing()
        # What was cut before the first batch that is stale still lands, and the others say which keys wait too: it is read again once.
        if self._flight.spent or (self._flight.stale and self._staging.waiting(now)):
            self._intake.narrow()
            self._dissolve()

    def _cut_ready(self, now: float, *, drain: bool) -> None:
        while self._flight.takes(self._limits.flight_batches_max) and self._intake.due(now, drain=drain):
            work = self._intake.cut()
            item = in_flight(work, now)
            self._flight.launch(item)
            nbytes = sum(cut.nbytes for cut in work.cuts)
            self._notice(events.BatchCut(self.route.name, work.number, sum(item.records.values()), nbytes))

    def _start_landing(self, now: float) -> None:
        if self._flight.landing or self._attempts.open or self._committing.waiting(now):
            return
        group = self._flight.ready(self._confirmed)
        if group and all(self._alive(item) for item in group):
            self._flight.land(group)

    def _confirmed(self, item: InFlight) -> bool:
        return all(self.lanes[stream].confirmed >= end for stream, end in item.ends.items())

    def _alive(self, item: InFlight) -> bool:
        """Count the batch's deaths, once; a lane whose breaker trips halts before any of them is buried."""
        tripped = trips(item, self.lanes)
        if tripped is not None:
            self.halt(*tripped)
        return tripped is None

    # ---- when something does not go on ----

    def _retry(self, backoff: Backoff, error: LandfastError, now: float) -> None:
        """Wait and try again; when retries are over the flow's lanes halt with everything intact."""
        wait = backoff.failed(now, self._around.jitter(), class_of(error))
        if wait is None:
            self._halt_all(error)
            return
        self.ledger.retries[class_of(error)] += 1
        kind = error.kind if isinstance(error, Unavailable) else "conflict"
        self._notice(events.RetryScheduled(self.route.name, error.code, kind, backoff.attempt, wait, error.message))

    def _halt_all(self, error: LandfastError) -> None:
        self._dissolve()
        for stream, lane in self.lanes.items():
            if lane.state is not LaneState.HALTED:
                self._stop_lane(stream, halt_of(error))

    def _dissolve(self, group: Sequence[InFlight] = ()) -> None:
        """Forget everything in flight, and `group` that just was; its lanes ask the sink again where they stand."""
        for stream, records in self._flight.dissolve(group).items():
            lane = self.lanes.get(stream)
            if lane is not None and lane.going:
                lane.unplace(records)

    # ---- what the runner asks ----

    def held(self) -> set[Stream]:
        """Streams that should not be read now: halted, unplaced, read to the end; all while the flow has enough to do."""
        enough = self._room.crowded or (self.busy() and self._room.taken)
        return self._attempts.held() | {stream for stream, lane in self.lanes.items() if enough or not lane.reads}

    def busy(self, streams: Collection[Stream] | None = None) -> bool:
        """Whether something of these streams (or of any) was read and has not landed yet."""
        if streams is None:
            return self._flight.landing or len(self._flight) > 0 or any(lane.uncut for lane in self.lanes.values())
        uncut = any(self.lanes[stream].uncut for stream in streams if stream in self.lanes)
        return uncut or bool(self._flight.streams.intersection(streams))

    @property
    def reading_again(self) -> set[Stream]:
        """Streams of which something that was read and forgotten has to be read once more."""
        return {stream for stream, lane in self.lanes.items() if lane.reading_again}

    @property
    def blocked(self) -> bool:
        """Whether what is in flight waits for nothing but the source's word that it belongs to its incarnation."""
        oldest = next(iter(self._flight), None)
        return not self._flight.landing and oldest is not None and oldest.prepared is not None and not self._confirmed(oldest)

    @property
    def finished(self) -> bool:
        """Whether every lane of a bounded run is read and landed to its end, or halted; letters are tried that are due, and no others."""
        whole = not self.busy() and all(lane.state is LaneState.HALTED or lane.read_whole for lane in self.lanes.values())
        return whole and not self._attempts.owed

    @property
    def landing(self) -> bool:
        """Whether a commit is under way, or attempts on letters, which commit as well."""
        return self._flight.landing or self._attempts.under_way

    @property
    def at_work(self) -> bool:
        """Whether a call into the sink or the decoder is running on another thread."""
        elsewhere = self._asking.under_way or self._attempts.under_way or self._upkeep.under_way
        return elsewhere or self._intake.undecoded > 0 or self._flight.under_way

    @property
    def nbytes(self) -> int:
        """Bytes of memory that records and staged rows take."""
        return self._room.nbytes

    @property
    def waiting(self) -> int:
        """Letters that wait to be tried again."""
        return sum(lane.waits for lane in self.lanes.values())

    @property
    def halts(self) -> dict[Stream, Halt]:
        """The lanes that stand still, and why."""
        return {stream: lane.halt for stream, lane in self.lanes.items() if lane.halt is not None}

    def _notice(self, event: events.Event) -> None:
        self._around.observer.notice(event)
