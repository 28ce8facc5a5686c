"""Every call of every port fails once, in every way that it can; then all pairs of such faults between a cut and a position that is told.

A fixed small workload of two workers is played again and again. What can fail is not guessed: the calls are those that the run without
the fault, or with the first of two, has made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from landfast.testing.faults import Call, Fault, Kind, When, can_show
from landfast.testing.world.campaign import problem_of
from landfast.testing.world.later import ROUND_PLACES
from landfast.testing.world.schedule import COMMIT_PATH, Act, Deed, Schedule, Sizes
from landfast.testing.world.world import World

WORKLOAD = Schedule(
    seed=1,
    sizes=Sizes(workers=2, batch_records=3, piece_records=2, flight_batches=2, session_seconds=1.0, maintain_landings=1),
    acts=(
        Act(0.0, Deed.PRODUCE, 0, 2),
        Act(0.0, Deed.PRODUCE_BAD, 0, 1),
        Act(0.0, Deed.PRODUCE_DISPUTED, 0, 1),
        Act(0.0, Deed.PRODUCE_POISON, 0, 1),
        Act(0.0, Deed.TOMBSTONE, 1, 1),
        Act(0.0, Deed.PRODUCE, 1, 2),
        Act(2.0, Deed.MARKER, 0, 1),
        Act(2.0, Deed.PRODUCE_DISPUTED, 0, 2),
    ),
)

_WAYS = (
    (Kind.CRASH, When.BEFORE),
    (Kind.CRASH, When.AFTER),
    (Kind.UNAVAILABLE, When.BEFORE),
    (Kind.CONFLICT, When.BEFORE),
    (Kind.ANSWER_LOST, When.BEFORE),
    (Kind.ANSWER_LOST, When.AFTER),
    (Kind.ANSWER_LATE, When.BEFORE),
    (Kind.OVERTAKEN, When.BEFORE),
    (Kind.FROZEN, When.BEFORE),
    (Kind.FROZEN, When.AFTER),
    (Kind.SLOW, When.BEFORE),
    (Kind.SLOW, When.AFTER),
)
_LONG = 7
"""Half sessions: who stands still for so long wakes up as a zombie."""


@dataclass(slots=True)
class EveryCall:
    """What was failed, and what went wrong: the schedule of each failure with its problem."""

    calls: int = 0
    calls_on_path: int = 0
    singles: int = 0
    pairs: int = 0
    cpu_seconds: float = 0.0
    failures: list[tuple[Schedule, str]] = field(default_factory=list)


def every_call(pairs_apart: int = 1, singles_apart: int = 1, workload: Schedule | None = None) -> EveryCall:
    """Fail each call of a workload alone, or every so many-th, and every so many-th of all pairs; 0 leaves them out."""
    workload = workload or WORKLOAD
    began = time.process_time()
    whole = EveryCall()
    calls = _calls(workload, 0)
    whole.calls = len(calls)
    whole.calls_on_path = sum(_on_path(call) for call in calls)
    for schedule in islice(_singles(workload, calls), 0, None, singles_apart):
        whole.singles += 1
        _play(schedule, whole)
    for schedule in islice(_pairs(workload, calls), 0, None, pairs_apart) if pairs_apart else ():
        whole.pairs += 1
        _play(schedule, whole)
    whole.cpu_seconds = time.process_time() - began
    return whole


def _play(schedule: Schedule, whole: EveryCall) -> None:
    problem = problem_of(schedule)
    if problem:
        whole.failures.append((schedule, problem))


def _calls(schedule: Schedule, worker: int) -> list[Call]:
    """The calls that a worker of this schedule makes, in order."""
    world = World(schedule)
    world.play()
    return world.workers[worker].plan.calls if worker < len(world.workers) else []


def _on_path(call: Call) -> bool:
    return (call.port, call.method) in COMMIT_PATH or (call.port, call.method) in ROUND_PLACES


def _faults(calls: list[Call], after: int = 0) -> Iterator[Fault]:
    """Every fault that these calls can show, behind call number `after`."""
    for number, call in enumerate(calls[after:], after + 1):
        for kind, when in _WAYS:
            fault = Fault(number, when, kind, _LONG if kind in {Kind.FROZEN, Kind.SLOW} else 1, call.place)
            if can_show(fault, call):
                yield fault


def _singles(workload: Schedule, calls: list[Call]) -> Iterator[Schedule]:
    for fault in _faults(calls):
        yield replace(workload, faults=((fault,),))


def _pairs(workload: Schedule, calls: list[Call]) -> Iterator[Schedule]:
    """Two faults of one process; where the first is a crash, the second befalls the process that is started in its place."""
    for first in _faults(calls):
        if not _on_path(calls[first.number - 1]):
            continue
        alone = replace(workload, faults=((first,),))
        crashed = first.kind is Kind.CRASH
        later = _calls(alone, workload.sizes.workers if crashed else 0)
        for second in _faults(later, 0 if crashed else first.number):
            if _on_path(later[second.number - 1]):
                yield replace(workload, faults=((first,), (), (second,)) if crashed else ((first, second),))
