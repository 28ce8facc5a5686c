"""What is known of a run, as one frozen value, and the pure function that folds an event into it.

Counts of records come from two places: `read` from what arrived, `totals` from the spans of commits that are durable. The second is
the truth of the run; the first runs ahead of it by what is in memory, and counts a record twice that was read again after a conflict.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from landfast import events
from landfast.model import Halt, Position, Receipt, Stream, Totals

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of a `Distribution` of seconds; one more bucket takes what is longer."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often which duration was met: one count per bucket (not cumulative), and the sum in seconds."""

    counts: tuple[int, ...] = (0,) * (len(SECONDS_BOUNDS) + 1)
    seconds: float = 0.0

    def plus(self, seconds: float) -> Distribution:
        """This distribution and one more duration."""
        bucket = bisect_left(SECONDS_BOUNDS, seconds)
        counts = (*self.counts[:bucket], self.counts[bucket] + 1, *self.counts[bucket + 1 :])
        return Distribution(counts, self.seconds + seconds)


@dataclass(frozen=True, slots=True)
class LaneState:
    """One stream. `reached` is where its reader stands, `landed` the durable position, `end` the source's end; None: not known."""

    assigned: bool = False
    epoch: int = 0
    held: bool = False
    halt: Halt | None = None
    reached: Position | None = None
    landed: Position | None = None
    end: Position | None = None
    read: int = 0
    read_bytes: int = 0
    stale: int = 0
    abandoned: int = 0
    totals: Totals = field(default_factory=Totals)

    @property
    def lag(self) -> int | None:
        """The distance in offsets from the durable position to the end; not a count of records, since logs have gaps."""
        if self.landed is None or self.end is None:
            return None
        return max(0, self.end - self.landed)


@dataclass(frozen=True, slots=True)
class FlowState:
    """One flow. Counts by name are mappings; `memory_bytes` and `batches_in_flight` are as the flow last said."""

    lanes: Mapping[Stream, LaneState] = field(default_factory=dict)
    gained: int = 0
    lost: int = 0
    batches_cut: int = 0
    batches_landed: int = 0
    prepare: Distribution = field(default_factory=Distribution)
    flush: Distribution = field(default_factory=Distribution)
    flushes: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    file_bytes: int = 0
    letters: Mapping[str, int] = field(default_factory=dict)
    letters_retried: Mapping[str, int] = field(default_factory=dict)
    letters_waiting: int = 0
    letters_waiting_max: int = 0
    keys_waiting: int = 0
    conflicts: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    call: Distribution = field(default_factory=Distribution)
    resolved: Mapping[str, int] = field(default_factory=dict)
    maintained: Mapping[str, int] = field(default_factory=dict)
    maintained_seconds: float = 0.0
    memory_bytes: int = 0
    memory_bytes_max: int = 0
    decodings_waiting: int = 0
    batches_in_flight: int = 0
    last: Receipt | None = None
    landed_at: float | None = None

    @property
    def totals(self) -> Totals:
        """The equation of everything this flow landed."""
        totals = Totals()
        for lane in self.lanes.values():
            totals = totals.plus(lane.totals)
        return totals


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong right now. It is closed by what shows that it is over, not by time."""

    flow: str
    code: str
    severity: str
    message: str
    since: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a run. Times are seconds since the epoch, as the observer's clock gave them.

    `opening` is what the start waits for; `stop_seconds_max` is how long a stop that was asked for may take. `dropped` counts the
    events that the logs could not keep up with; whoever shows the state fills it in.
    """

    run_id: str = ""
    started_at: float | None = None
    outcome: str | None = None
    opening: events.OpeningBegan | None = None
    stop_seconds_max: float | None = None
    flows: Mapping[str, FlowState] = field(default_factory=dict)
    problems: Mapping[tuple[str, str], Problem] = field(default_factory=dict)
    notices: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0

    @property
    def lanes(self) -> list[tuple[str, Stream, LaneState]]:
        """Every lane with its flow and stream."""
        return [(name, stream, lane) for name, flow in self.flows.items() for stream, lane in flow.lanes.items()]

    @property
    def totals(self) -> Totals:
        """The equation of everything that landed."""
        totals = Totals()
        for flow in self.flows.values():
            totals = totals.plus(flow.totals)
        return totals


UNANSWERED = frozenset({"BROKER_UNREACHABLE", "KAFKA_CLIENT", "SOURCE_DOWN"})
"""Problems of brokers that do not answer: over as soon as one says where a log ends, which the quietest topic brings."""

SOURCE_CODES = UNANSWERED | {"SOURCE_AUTH", "TOPIC_GONE"}
"""Problems of the source as a whole: over as soon as it delivers, like a failed attempt to open it. A topic that is gone for good halts."""

LANDED_CODES = frozenset({"COMMIT_CONFLICT", "DISK_FULL", "FD_LIMIT", "OUTCOME_UNKNOWN", "SINK_AUTH", "SINK_DOWN", "SINK_THROTTLED"})
"""Problems of a store that somebody told of beside a landing, such as upkeep: over as soon as something lands there."""

CLEARED = "cleared"
"""The severity of a Notice that says that the problem of its code is over."""


def reduce(state: State, event: events.Event, at: float) -> State:
    """The state after `event`, which was heard `at` seconds since the epoch. Pure, total: unknown events change nothing."""
    state = _after_for_run(state, event, at)
    before = state.flows.get(event.flow)
    after = _after_for_flow(before or FlowState(), event, at)
    if after is before or (before is None and after == FlowState()):
        return state
    return replace(state, flows={**state.flows, event.flow: after})


def _after_for_run(state: State, event: events.Event, at: float) -> State:
    match event:
        case events.OpeningBegan() | events.RunStarted() | events.StopAsked() | events.RunEnded():
            return _of_run(state, event, at)
        case events.Notice():
            return _noticed(replace(state, notices=_more(state.notices, event.code)), event, at)
        case events.RetryScheduled():
            return _opened(state, Problem(event.flow, event.code, "retry", event.message, at))
        case events.BatchLanded():
            return _closed(
                state, lambda problem: problem.flow == event.flow and (problem.severity == "retry" or problem.code in LANDED_CODES)
            )
        case events.Maintained():
            return _closed(state, lambda problem: problem.flow == event.flow and problem.code == "MAINTENANCE_FAILED")
        case events.RecordsRead() | events.StreamGained():
            return _closed(state, lambda problem: problem.code in SOURCE_CODES or (problem.severity == "retry" and not problem.flow))
        case events.LaneProgress(end=int()):
            return _closed(state, lambda problem: problem.code in UNANSWERED)
        case _:
            return state


def _of_run(state: State, event: events.Event, at: float) -> State:
    match event:
        case events.OpeningBegan():
            return replace(state, opening=event)
        case events.RunStarted():
            return replace(state, run_id=event.run_id, started_at=at, outcome=None, opening=None)
        case events.StopAsked():
            return replace(state, stop_seconds_max=event.seconds_max)
        case events.RunEnded():
            return replace(state, outcome=event.outcome)
        case _:
            return state


def _after_for_flow(flow: FlowState, event: events.Event, at: float) -> FlowState:
    match event:
        case events.BatchLanded():
            return _landed(flow, event, at)
        case events.BatchPrepared():
            return replace(flow, prepare=flow.prepare.plus(event.seconds))
        case events.MemoryHeld():
            return replace(
                flow,
                memory_bytes=event.nbytes,
                memory_bytes_max=event.nbytes_max,
                batches_in_flight=event.batches,
                decodings_waiting=event.undecoded,
            )
        case events.LettersBuried() | events.LettersRetried() | events.LettersWaiting():
            return _of_letters(flow, event)
        case events.StreamGained():
            return _with_lane(replace(flow, gained=flow.gained + 1), event.stream, event)
        case events.StreamLost():
            return _with_lane(replace(flow, lost=flow.lost + 1), event.stream, event)
        case events.RecordsRead() | events.StaleDropped() | events.LaneHalted() | events.LaneProgress():
            return _with_lane(flow, event.stream, event)
        case _:
            return _counted(flow, event)


def _of_letters(flow: FlowState, event: events.LettersBuried | events.LettersRetried | events.LettersWaiting) -> FlowState:
    match event:
        case events.LettersBuried():
            letters = dict(flow.letters)
            for reason, count in event.reasons:
                letters[reason] = letters.get(reason, 0) + count
            return replace(flow, letters=letters)
        case events.LettersRetried():
            came = {"landed": event.landed, "refused": event.refused, "given_up": event.given_up}
            return replace(flow, letters_retried={name: flow.letters_retried.get(name, 0) + count for name, count in came.items()})
        case events.LettersWaiting():
            return replace(flow, letters_waiting=event.letters, letters_waiting_max=event.letters_max, keys_waiting=event.keys)


def _counted(flow: FlowState, event: events.Event) -> FlowState:
    match event:
        case events.BatchCut():
            return replace(flow, batches_cut=flow.batches_cut + 1)
        case events.ConflictMet():
            return replace(flow, conflicts=_more(flow.conflicts, event.code), flushes=_more(flow.flushes, "conflict"))
        case events.RetryScheduled():
            kind = (event.kind, event.code)
            return replace(flow, retries={**flow.retries, kind: flow.retries.get(kind, 0) + 1}, flushes=_more(flow.flushes, "retried"))
        case events.ServiceCalled():
            return replace(flow, calls=_more(flow.calls, event.outcome), call=flow.call.plus(event.seconds))
        case events.OutcomeResolved():
            return replace(flow, resolved=_more(flow.resolved, "landed" if event.landed else "absent"))
        case events.Maintained():
            return replace(flow, maintained=_more(flow.maintained, event.act), maintained_seconds=flow.maintained_seconds + event.seconds)
        case _:
            return flow


def _with_lane(flow: FlowState, stream: Stream, event: events.Event) -> FlowState:
    lane = flow.lanes.get(stream, LaneState())
    return replace(flow, lanes={**flow.lanes, stream: _after_for_lane(lane, event)})


def _after_for_lane(lane: LaneState, event: events.Event) -> LaneState:
    match event:
        case events.StreamGained():
            return replace(lane, assigned=True, epoch=event.epoch, reached=event.position, landed=event.position, halt=None, held=False)
        case events.StreamLost():
            return replace(lane, assigned=False, halt=None, held=False, abandoned=lane.abandoned + event.abandoned)
        case events.RecordsRead():
            return replace(lane, read=lane.read + event.records, read_bytes=lane.read_bytes + event.nbytes, reached=event.position)
        case events.StaleDropped():
            return replace(lane, stale=lane.stale + event.records)
        case events.LaneHalted():
            return replace(lane, halt=event.halt)
        case events.LaneProgress():
            return replace(lane, landed=event.landed, end=lane.end if event.end is None else event.end, held=event.held)
        case _:
            return lane


def _landed(flow: FlowState, event: events.BatchLanded, at: float) -> FlowState:
    receipt = event.receipt
    lanes = dict(flow.lanes)
    for span in receipt.spans:
        lane = lanes.get(span.stream, LaneState())
        lanes[span.stream] = replace(lane, landed=span.end, totals=lane.totals.plus(span))
    return replace(
        flow,
        lanes=lanes,
        batches_landed=flow.batches_landed + event.batches,
        flush=flow.flush.plus(receipt.seconds),
        flushes=_more(flow.flushes, "already" if receipt.already else "landed"),
        files=flow.files + receipt.files,
        file_bytes=flow.file_bytes + receipt.nbytes,
        last=receipt,
        landed_at=at,
    )


def _noticed(state: State, event: events.Notice, at: float) -> State:
    if event.severity == CLEARED:
        return _closed(state, lambda problem: problem.code == event.code and problem.flow == event.flow)
    if event.severity == "info":
        return state
    return _opened(state, Problem(event.flow, event.code, event.severity, event.message, at))


def _opened(state: State, problem: Problem) -> State:
    key = (problem.flow, problem.code)
    known = state.problems.get(key)
    if known is not None:
        problem = replace(problem, since=known.since, count=known.count + 1)
    return replace(state, problems={**state.problems, key: problem})


def _closed(state: State, is_over: Callable[[Problem], bool]) -> State:
    if not state.problems:
        return state
    return replace(state, problems={key: problem for key, problem in state.problems.items() if not is_over(problem)})


def _more(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}
