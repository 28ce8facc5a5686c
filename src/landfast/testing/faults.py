"""Faults as data: which call of which port, before or after its effect, and what happens there.

A `FaultPlan` belongs to one process. Every port of that process is seen through it (`FaultySource(source, plan)` and so on), so that
the plan counts all calls in one row, and a test can let each of them fail in turn:

    for number in itertools.count(1):
        plan = FaultPlan([Fault(number, When.BEFORE, Kind.CRASH)])
        run_a_process(plan)
        if not plan.fired:
            break
        run_a_process(FaultPlan())
        check_the_ledger()
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from landfast.errors import Conflict, Unavailable
from landfast.events import Event
from landfast.model import Assignment, Batch, Bounds, Guarantee, Halt, Letter, Poll, Position, Receipt, Staged, Stream
from landfast.ports import DeadLetters, Extent, Membership, Observer, Sink, Source
from landfast.testing.memory.letters import LetterStore
from landfast.testing.memory.table import AnswerLost, Snapshot, Table, TableCommit

T = TypeVar("T")

CALLS_MAX = 20_000


class When(enum.Enum):
    """Before the effect of a call, or after it: then the effect stays and only the answer is lost."""

    BEFORE = "before"
    AFTER = "after"


class Kind(enum.Enum):
    """What happens at a fault.

    CRASH         the process is gone: `Crashed` comes out of this call and, without effect, out of every later one
    UNAVAILABLE   the port says so; only before the effect, since a port that says so has done nothing
    CONFLICT      the same, as if another owner had come first
    ANSWER_LOST   a store below a port does not answer, before or after the effect
    """

    CRASH = "crash"
    UNAVAILABLE = "unavailable"
    CONFLICT = "conflict"
    ANSWER_LOST = "answer lost"


MAY_BE_UNAVAILABLE = frozenset(
    {
        ("source", "open"),
        ("extent", "bounds"),
        ("sink", "positions"),
        ("sink", "stage"),
        ("sink", "commit"),
        ("sink", "maintain"),
        ("letters", "claim"),
        ("letters", "put"),
        ("letters", "buried"),
    }
)
MAY_CONFLICT = frozenset({("sink", "commit"), ("letters", "put")})
MAY_LOSE_ITS_ANSWER = frozenset({("table", "snapshot"), ("table", "put"), ("store", "take"), ("store", "append"), ("store", "buried")})


class Crashed(BaseException):
    """The process that called is no more. Not an Exception, so that nothing lives on by catching it."""


class Stuck(BaseException):
    """A process made more calls than any run of its size needs: it will not end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `number` counts the calls of a process, over all of its ports, from 1; `lasting` lets the next so many calls fail too.

    A kind that the call at `number` cannot show happens at the next call that can. `place` ("sink.commit") waits for a call of that port
    and method as well.
    """

    number: int
    when: When
    kind: Kind
    lasting: int = 1
    place: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one port."""

    port: str
    method: str


class FaultPlan:
    """What befalls one process, call by call.

    calls     every call so far
    fired     the faults that happened, and where
    raised    what the ports themselves raised
    between   called before each call of a port with the call's number: here a test lets other processes, the group or the log act
    after     called after each call that had an effect: here a test checks what must hold at every moment
    """

    def __init__(
        self,
        faults: Sequence[Fault] = (),
        between: Callable[[int, Call], object] | None = None,
        after: Callable[[], object] | None = None,
        calls_max: int = CALLS_MAX,
    ) -> None:
        self.calls: list[Call] = []
        self.fired: list[tuple[Fault, Call]] = []
        self.raised: list[tuple[Call, Exception]] = []
        self.dead = False
        self._waiting = sorted(faults, key=lambda fault: fault.number)
        self._left = {fault: fault.lasting for fault in faults}
        self._between = between
        self._after = after
        self._calls_max = calls_max

    def calm(self) -> None:
        """Nothing more befalls the process."""
        self._waiting.clear()

    def around(self, port: str, method: str, call: Callable[[], T]) -> T:
        """Make a call, unless the plan has something else in mind."""
        if self.dead:
            raise Crashed
        made = Call(port, method)
        self.calls.append(made)
        number = len(self.calls)
        if number > self._calls_max:
            message = f"{number} calls and no end; the last were {self.calls[-20:]}"
            raise Stuck(message)
        if self._between is not None:
            self._between(number, made)
        fault = self._due(number, made)
        if fault is not None and fault.when is When.BEFORE:
            self._fire(fault, made)
        try:
            result = call()
        except Exception as error:
            self.raised.append((made, error))
            raise
        if self._after is not None:
            self._after()
        if fault is not None and fault.when is When.AFTER:
            self._fire(fault, made)
        return result

    def _due(self, number: int, call: Call) -> Fault | None:
        for fault in self._waiting:
            if fault.number <= number and _can_show(fault, call):
                self._left[fault] -= 1
                if self._left[fault] == 0:
                    self._waiting.remove(fault)
                return fault
        return None

    def _fire(self, fault: Fault, call: Call) -> None:
        self.fired.append((fault, call))
        where = f"{call.port}.{call.method}"
        if fault.kind is Kind.CRASH:
            self.dead = True
            raise Crashed(where)
        if fault.kind is Kind.UNAVAILABLE:
            raise Unavailable("FAULT_INJECTED", f"{where} is not available, says the test", next_step="Try again.")
        if fault.kind is Kind.CONFLICT:
            raise Conflict("PIPELINE_CONFLICT", f"{where} conflicts, says the test", next_step="Read the position again.")
        raise AnswerLost(where)


def _can_show(fault: Fault, call: Call) -> bool:
    place = (call.port, call.method)
    if fault.place and fault.place != f"{call.port}.{call.method}":
        return False
    if fault.kind is Kind.CRASH:
        return True
    if fault.kind is Kind.ANSWER_LOST:
        return place in MAY_LOSE_ITS_ANSWER
    return fault.when is When.BEFORE and place in (MAY_BE_UNAVAILABLE if fault.kind is Kind.UNAVAILABLE else MAY_CONFLICT)


class FaultySource:
    """A source, and its extent, seen through a plan."""

    def __init__(self, source: Source, extent: Extent, plan: FaultPlan) -> None:
        self._source = source
        self._extent = extent
        self._plan = plan

    def open(self, membership: Membership) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "open", lambda: self._source.open(membership))

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """See `ports.Source`."""
        return self._plan.around("source", "poll", lambda: self._source.poll(limit, timeout_seconds, hold))

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "rewind", lambda: self._source.rewind(assignments))

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "acknowledge", lambda: self._source.acknowledge(positions))

    def close(self) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "close", self._source.close)

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """See `ports.Extent`."""
        return self._plan.around("extent", "bounds", lambda: self._extent.bounds(streams))


class FaultySink:
    """A sink seen through a plan."""

    def __init__(self, sink: Sink, plan: FaultPlan) -> None:
        self._sink = sink
        self._plan = plan

    @property
    def guarantee(self) -> Guarantee:
        """See `ports.Sink`."""
        return self._sink.guarantee

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        return self._plan.around("sink", "positions", lambda: self._sink.positions(streams))

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        return self._plan.around("sink", "take_over", lambda: self._sink.take_over(streams))

    def stage(self, batch: Batch) -> Staged:
        """See `ports.Sink`."""
        return self._plan.around("sink", "stage", lambda: self._sink.stage(batch))

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """See `ports.Sink`."""
        return self._plan.around("sink", "commit", lambda: self._sink.commit(staged))

    def maintain(self, budget_seconds: float) -> None:
        """See `ports.Sink`."""
        self._plan.around("sink", "maintain", lambda: self._sink.maintain(budget_seconds))

    def close(self) -> None:
        """See `ports.Sink`."""
        self._plan.around("sink", "close", self._sink.close)


class FaultyDeadLetters:
    """Dead letters seen through a plan."""

    def __init__(self, letters: DeadLetters, plan: FaultPlan) -> None:
        self._letters = letters
        self._plan = plan

    def claim(self, streams: Collection[Stream]) -> None:
        """See `ports.DeadLetters`."""
        self._plan.around("letters", "claim", lambda: self._letters.claim(streams))

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters`."""
        self._plan.around("letters", "put", lambda: self._letters.put(letters))

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """See `ports.DeadLetters`."""
        return self._plan.around("letters", "buried", lambda: self._letters.buried(stream, start))

    def close(self) -> None:
        """See `ports.DeadLetters`."""
        self._plan.around("letters", "close", self._letters.close)


class FaultyTable:
    """The table below a `MemorySink`, seen through a plan: here answers are lost."""

    def __init__(self, table: Table, plan: FaultPlan) -> None:
        self._table = table
        self._plan = plan

    def snapshot(self) -> Snapshot:
        """See `memory.Table`."""
        return self._plan.around("table", "snapshot", self._table.snapshot)

    def put(self, version: int, commit: TableCommit) -> None:
        """See `memory.Table`."""
        self._plan.around("table", "put", lambda: self._table.put(version, commit))

    def accepted(self, stream: Stream) -> bool:
        """See `memory.Table`."""
        return self._table.accepted(stream)


class FaultyLetterStore:
    """The store below `MemoryDeadLetters`, seen through a plan: here answers are lost."""

    def __init__(self, store: LetterStore, plan: FaultPlan) -> None:
        self._store = store
        self._plan = plan

    def take(self, streams: Collection[Stream], owner: str) -> None:
        """See `memory.LetterStore`."""
        self._plan.around("store", "take", lambda: self._store.take(streams, owner))

    def append(self, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        """See `memory.LetterStore`."""
        return self._plan.around("store", "append", lambda: self._store.append(letters, owner, token))

    def buried(self, stream: Stream, start: Position) -> frozenset[int]:
        """See `memory.LetterStore`."""
        return self._plan.around("store", "buried", lambda: self._store.buried(stream, start))


class FaultyObserver:
    """An observer seen through a plan: a crash at an event is a crash between any two decisions of the engine."""

    def __init__(self, observer: Observer, plan: FaultPlan) -> None:
        self._observer = observer
        self._plan = plan

    def notice(self, event: Event) -> None:
        """See `ports.Observer`."""
        self._plan.around("observer", "notice", lambda: self._observer.notice(event))
