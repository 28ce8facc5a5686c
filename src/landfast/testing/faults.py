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
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, TypeVarTuple

from landfast.errors import Conflict, Unavailable
from landfast.testing.memory.table import AnswerLost

A = TypeVarTuple("A")
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
    ANSWER_LATE   the same, and the effect comes later, when whoever asked has long asked again or is gone
    OVERTAKEN     another tool puts a version first, between the look at the table and the put
    FROZEN        the whole process stands still, for `lasting` half sessions: it may wake up as a zombie
    SLOW          this call takes as long, and the rest of the process goes on
    DISTURBED     at this very moment something happens to the log or to the group; `lasting` numbers what
    """

    CRASH = "crash"
    UNAVAILABLE = "unavailable"
    CONFLICT = "conflict"
    ANSWER_LOST = "answer lost"
    ANSWER_LATE = "answer late"
    OVERTAKEN = "overtaken"
    FROZEN = "frozen"
    SLOW = "slow"
    DISTURBED = "disturbed"


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

ROUND_MAY_BE_UNAVAILABLE = frozenset({("retries", "waiting"), ("retries", "retry")})
ROUND_MAY_CONFLICT = frozenset({("retries", "retry")})
ROUND_MAY_LOSE_ITS_ANSWER = frozenset({("store", "retriable"), ("store", "fail")})
"""The same where letters are tried again."""


MAY_BE_LATE = frozenset({("table", "put")})
"""A put of a version that is refused where the version is taken may arrive at any time: what is not so guarded must not be late."""


class Powers(Protocol):
    """What a fault needs of the world around a process; a plan without powers shows no fault that needs them."""

    def freeze(self, half_sessions: int) -> None:
        """Let the process that calls stand still; returns when it goes on."""

    def hang(self, half_sessions: int) -> None:
        """Let this call take as long."""

    def later(self, call: Callable[[], object]) -> None:
        """Make the call some time later, whatever becomes of the process."""

    def overtake(self) -> None:
        """Let another tool put a version now."""

    def disturb(self, number: int) -> None:
        """Let something happen now that has this number."""


class Crashed(BaseException):
    """The process that called is no more. Not an Exception, so that nothing lives on by catching it."""


class Stuck(BaseException):
    """A process made more calls than any run of its size needs: it will not end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `number` counts the calls of a process, over all of its ports, from 1; `lasting` lets the next so many calls fail too.

    For FROZEN and SLOW it is how many half sessions that takes, for DISTURBED what happens. A kind that the call at `number` cannot
    show happens at the next call that can. `place` ("sink.commit") waits for a call of that port and method as well.
    """

    number: int
    when: When
    kind: Kind
    lasting: int = 1
    place: str = ""


@dataclass(frozen=True)
class Call:
    """One call of one port."""

    port: str
    method: str

    @functools.cached_property
    def place(self) -> str:
        """As a fault names it: "sink.commit"."""
        return f"{self.port}.{self.method}"


class FaultPlan:
    """What befalls one process, call by call.

    calls     every call so far
    fired     the faults that happened, and where
    raised    what the ports themselves raised
    between   called before each call of a port with the call's number: here a test lets other processes, the group or the log act;
              it may be set later
    after     called after each call that had an effect: here a test checks what must hold at every moment
    """

    def __init__(
        self,
        faults: Sequence[Fault] = (),
        between: Callable[[int, Call], object] | None = None,
        after: Callable[[], object] | None = None,
        calls_max: int = CALLS_MAX,
        powers: Powers | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.fired: list[tuple[Fault, Call]] = []
        self.raised: list[tuple[Call, Exception]] = []
        self.dead = False
        self._waiting = sorted(faults, key=lambda fault: fault.number)
        self._left = {fault: fault.lasting for fault in faults}
        self.between = between
        self._after = after
        self._calls_max = calls_max
        self._powers = powers

    def calm(self) -> None:
        """Nothing more befalls the process."""
        self._waiting.clear()

    def around(self, port: str, method: str, call: Callable[[*A], T], *given: *A) -> T:
        """Make a call with what is given, unless the plan has something else in mind."""
        if self.dead:
            raise Crashed
        made = _call(port, method)
        self.calls.append(made)
        number = len(self.calls)
        if number > self._calls_max:
            message = f"{number} calls and no end; the last were {self.calls[-20:]}"
            raise Stuck(message)
        if self.between is not None:
            self.between(number, made)
        fault = self._due(number, made) if self._waiting else None
        if fault is not None and fault.when is When.BEFORE:
            self._fire(fault, made, functools.partial(call, *given))
        try:
            result = call(*given)
        except Exception as error:
            self.raised.append((made, error))
            raise
        if self._after is not None:
            self._after()
        if fault is not None and fault.when is When.AFTER:
            self._fire(fault, made, functools.partial(call, *given))
        return result

    def _due(self, number: int, call: Call) -> Fault | None:
        for fault in self._waiting:
            if fault.number > number:
                break
            if can_show(fault, call) and (self._powers is not None or fault.kind not in _NEED_POWERS):
                self._left[fault] -= 1
                if self._left[fault] == 0 or fault.kind in _NEED_POWERS:
                    self._waiting.remove(fault)
                return fault
        return None

    def _fire(self, fault: Fault, call: Call, effect: Callable[[], object]) -> None:
        self.fired.append((fault, call))
        kind, where = fault.kind, call.place
        if kind is Kind.CRASH:
            self.dead = True
            raise Crashed(where)
        if kind is Kind.UNAVAILABLE:
            raise Unavailable("FAULT_INJECTED", f"{where} is not available, says the test", next_step="Try again.")
        if kind is Kind.CONFLICT:
            raise Conflict("PIPELINE_CONFLICT", f"{where} conflicts, says the test", next_step="Read the position again.")
        if self._powers is not None and kind in _NEED_POWERS:
            self._use(self._powers, fault, effect)
        if kind in {Kind.ANSWER_LOST, Kind.ANSWER_LATE}:
            raise AnswerLost(where)
        if self.dead:
            raise Crashed(where)

    def _use(self, powers: Powers, fault: Fault, effect: Callable[[], object]) -> None:
        if fault.kind is Kind.ANSWER_LATE:
            powers.later(effect)
        elif fault.kind is Kind.OVERTAKEN:
            powers.overtake()
        elif fault.kind is Kind.FROZEN:
            powers.freeze(fault.lasting)
        elif fault.kind is Kind.DISTURBED:
            powers.disturb(fault.lasting)
        else:
            powers.hang(fault.lasting)


_ANYWHERE = frozenset({Kind.CRASH, Kind.FROZEN, Kind.SLOW, Kind.DISTURBED})
_NEED_POWERS = frozenset({Kind.ANSWER_LATE, Kind.OVERTAKEN, Kind.FROZEN, Kind.SLOW, Kind.DISTURBED})


@functools.cache
def _call(port: str, method: str) -> Call:
    """One value per place: they are made a thousand times in a schedule."""
    return Call(port, method)


def can_show(fault: Fault, call: Call) -> bool:
    """Whether this fault can happen at this call."""
    if fault.place and fault.place != call.place:
        return False
    if fault.kind in _ANYWHERE:
        return True
    place = (call.port, call.method)
    if fault.kind is Kind.ANSWER_LOST:
        return place in MAY_LOSE_ITS_ANSWER or place in ROUND_MAY_LOSE_ITS_ANSWER
    return fault.when is When.BEFORE and place in _PLACES_BEFORE[fault.kind]


_PLACES_BEFORE = {
    Kind.UNAVAILABLE: MAY_BE_UNAVAILABLE | ROUND_MAY_BE_UNAVAILABLE,
    Kind.CONFLICT: MAY_CONFLICT | ROUND_MAY_CONFLICT,
    Kind.ANSWER_LATE: MAY_BE_LATE,
    Kind.OVERTAKEN: MAY_BE_LATE,
}
