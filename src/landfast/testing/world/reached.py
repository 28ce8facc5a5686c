"""Which rare states a world has been in: a campaign that never met one of them has proven nothing about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from landfast import events
from landfast.core.report import Outcome
from landfast.errors import Conflict
from landfast.model import Stream
from landfast.testing.faults import MAY_BE_UNAVAILABLE, MAY_CONFLICT, MAY_LOSE_ITS_ANSWER, Kind, When
from landfast.testing.world.reached_later import reached_later
from landfast.testing.world.schedule import AIMED, COMMIT_PATH, CRASH_PLACES, Deed, disturbance
from landfast.testing.world.workers import DISPUTED, Worker
from landfast.testing.world.world import FOREIGN, Outcomes, World

_OF_EVERY_DAY = frozenset({events.RecordsRead, events.BatchCut, events.BatchPrepared, events.LaneProgress})
"""What is told most, and of no rare state."""

_IN_TURN = 3
_MANY_CRASHES = 5

STATES = (
    "a crash with letters buried and their commit missing",
    "a crash with a commit landed and its answer unseen",
    "a commit found out to have landed before",
    "a conflict",
    "a conflict of a worker that had been frozen or expelled",
    "two workers that both took a stream for theirs",
    "rows that the sink refused",
    "a letter of the phase write",
    "records dropped as stale",
    "a stream lost with records in hand",
    "a stream drained before it went",
    "a stream of the same worker gone and back",
    "a stream owned by three workers in turn",
    "several batches in one commit",
    "several batches in flight",
    "a piece decoded before its batch was cut",
    "a batch of several streams",
    "a span without a record",
    "a stream's first position landed without a record",
    "a skipped record",
    "a retry",
    "a retry that helped",
    "a lane halted while others went on",
    "a halt as DATA_EXPIRED",
    "a halt as LOG_TRUNCATED",
    "a halt as TOPIC_REPLACED",
    "a halt as TOPIC_GONE",
    "a run stopped with records in hand",
    "a bounded run finished",
    "a bounded run finished while another worker lived",
    "a foreign commit between two of ours",
    "a partition added and landed",
    "a record compacted away before it was read",
    "a wall clock set back or forward",
    "an open transaction",
    "a worker killed while a commit was on its way",
    "a run that met five crashes",
    "a version put when nobody waited for it any more",
    "a former owner stopped by the fence of the table",
    "a former owner stopped by the fence of the dead letters",
    "a disputed record that became a row",
    "a disputed record that became a letter",
    "a letter of one release found by the other",
    "a transaction that was called off",
    "a topic created again and filled again",
    "a stream moved to another member",
    "a stream handed over to another member",
)


def expected() -> tuple[str, ...]:
    """Every state that a campaign has to reach: each port call crashed and failed in every way that it can, and what those lead to."""
    crashes = [f"a crash {when.value} {port}.{method}" for port, method in sorted(CRASH_PLACES) for when in When]
    unavailable = [f"{port}.{method} unavailable" for port, method in sorted(MAY_BE_UNAVAILABLE)]
    conflicts = [f"{port}.{method} in conflict" for port, method in sorted(MAY_CONFLICT)]
    lost = [f"an answer of {port}.{method} lost {when.value} the effect" for port, method in sorted(MAY_LOSE_ITS_ANSWER) for when in When]
    stood = [
        f"{kind.value} {when.value} {port}.{method}"
        for kind in (Kind.FROZEN, Kind.SLOW)
        for port, method in sorted(COMMIT_PATH)
        for when in When
    ]
    aimed = [f"{act.deed} at a call of a port" for act in AIMED]
    late = ["table.put answer late", "table.put overtaken"]
    return (*crashes, *unavailable, *conflicts, *lost, *late, *aimed, *stood, *STATES)


def reached(world: World, outcomes: Outcomes) -> Iterator[str]:
    """Each state that was met, as often as it was."""
    later = reached_later(world) if world.schedule.sizes.later_seconds else ()
    return chain(_faults(world), *map(_of_worker, world.workers), _of_commits(world), _of_world(world, outcomes), later)


def _faults(world: World) -> Iterator[str]:
    for worker in world.workers:
        for fault, call in worker.plan.fired:
            where = call.place
            if fault.kind is Kind.CRASH:
                yield f"a crash {fault.when.value} {where}"
            elif fault.kind is Kind.UNAVAILABLE:
                yield f"{where} unavailable"
            elif fault.kind is Kind.CONFLICT:
                yield f"{where} in conflict"
            elif fault.kind is Kind.ANSWER_LOST:
                yield f"an answer of {where} lost {fault.when.value} the effect"
            elif fault.kind is Kind.DISTURBED:
                yield f"{disturbance(fault.lasting).deed} at a call of a port"
            elif fault.kind in {Kind.FROZEN, Kind.SLOW}:
                yield f"{fault.kind.value} {fault.when.value} {where}"
            else:
                yield f"{where} {fault.kind.value}"


def _of_worker(worker: Worker) -> Iterator[str]:
    gained: Counter[Stream] = Counter()
    retried = False
    for event in worker.observer.events:
        if type(event) in _OF_EVERY_DAY:
            continue
        match event:
            case events.BatchLanded():
                yield from _of_landing(event, retried=retried)
            case events.ConflictMet():
                yield "a conflict"
                if worker.was_away:
                    yield "a conflict of a worker that had been frozen or expelled"
            case events.StreamGained():
                gained[event.stream] += 1
                if gained[event.stream] > 1:
                    yield "a stream of the same worker gone and back"
            case events.RetryScheduled():
                retried = True
                yield "a retry"
            case _:
                yield from _of_event(event)
    yield from _of_run(worker)


def _of_landing(event: events.BatchLanded, *, retried: bool) -> Iterator[str]:
    if event.receipt.already:
        yield "a commit found out to have landed before"
    if event.batches > 1:
        yield "several batches in one commit"
    if retried:
        yield "a retry that helped"


def _of_event(event: events.Event) -> Iterator[str]:
    match event:
        case events.StaleDropped():
            yield "records dropped as stale"
        case events.StreamLost():
            if event.abandoned:
                yield "a stream lost with records in hand"
            elif event.drained:
                yield "a stream drained before it went"
        case events.MemoryHeld() if event.batches > 1:
            yield "several batches in flight"
        case events.LaneHalted():
            yield f"a halt as {event.halt.code}"


def _of_run(worker: Worker) -> Iterator[str]:
    if worker.killed_in_commit:
        yield "a worker killed while a commit was on its way"
    if worker.ahead:
        yield "a piece decoded before its batch was cut"
    report = worker.report
    if report is None:
        return
    if report.halts and report.totals.read:
        yield "a lane halted while others went on"
    if report.outcome is Outcome.STOPPED and report.totals.read:
        yield "a run stopped with records in hand"
    if report.outcome is Outcome.FINISHED:
        yield "a bounded run finished"
        if worker.company:
            yield "a bounded run finished while another worker lived"


def _of_commits(world: World) -> Iterator[str]:
    runs: dict[Stream, list[str]] = {}
    before = None
    for commit in world.table.commits:
        if commit.run_id == FOREIGN and before not in {None, FOREIGN}:
            yield "a foreign commit between two of ours"
        before = commit.run_id
        if len({span.stream for span in commit.spans}) > 1:
            yield "a batch of several streams"
        for span in commit.spans:
            owners = runs.setdefault(span.stream, [])
            if commit.run_id not in owners:
                owners.append(commit.run_id)
                if len(owners) == _IN_TURN:
                    yield "a stream owned by three workers in turn"
            if span.read == 0:
                yield "a span without a record"
                if span.first:
                    yield "a stream's first position landed without a record"
            if span.skipped:
                yield "a skipped record"
            if span.stream.partition >= world.schedule.sizes.partitions and span.written:
                yield "a partition added and landed"


_DONE = {
    Deed.SKEW: "a wall clock set back or forward",
    Deed.OPEN_TRANSACTION: "an open transaction",
    Deed.ABORT_TRANSACTION: "a transaction that was called off",
    Deed.MOVE: "a stream moved to another member",
    Deed.HAND_OVER: "a stream handed over to another member",
}


def _of_world(world: World, outcomes: Outcomes) -> Iterator[str]:
    yield from (state for deed, state in _DONE.items() if deed in world.done)
    if any(letter.phase == "write" for letter in world.store.letters):
        yield "a letter of the phase write"
        yield "rows that the sink refused"
    if world.both_own:
        yield "two workers that both took a stream for theirs"
    if world.compacted and not any(place in world.compacted for place in outcomes.verdict.phantom):
        yield "a record compacted away before it was read"
    if world.late:
        yield "a version put when nobody waited for it any more"
    if any(act.deed is Deed.RECREATE and act.pick for act in world.schedule.acts):
        yield "a topic created again and filled again"
    yield from _of_fences(world)
    yield from _of_disputes(world)
    yield from _of_crashes(world)


def _of_crashes(world: World) -> Iterator[str]:
    crashes = [worker for worker in world.workers if worker.crashed]
    if len(crashes) >= _MANY_CRASHES:
        yield "a run that met five crashes"
    for worker in crashes:
        last = worker.plan.fired[-1] if worker.plan.fired else None
        if last is None or last[0].when is not When.AFTER:
            continue
        if (last[1].port, last[1].method) == ("letters", "put"):
            yield "a crash with letters buried and their commit missing"
        if (last[1].port, last[1].method) == ("sink", "commit"):
            yield "a crash with a commit landed and its answer unseen"


def _of_fences(world: World) -> Iterator[str]:
    for worker in world.workers:
        for call, error in worker.plan.raised:
            if isinstance(error, Conflict) and (call.port, call.method) == ("letters", "put"):
                yield "a former owner stopped by the fence of the dead letters"
            if isinstance(error, Conflict) and (call.port, call.method) == ("sink", "commit"):
                yield "a former owner stopped by the fence of the table"


def _of_disputes(world: World) -> Iterator[str]:
    if any(isinstance(row.row, bytes) and row.row.startswith(DISPUTED) for row in world.table.rows):
        yield "a disputed record that became a row"
    disputed = {(letter.stream, letter.offset) for letter in world.store.letters if (letter.value or b"").startswith(DISPUTED)}
    if disputed:
        yield "a disputed record that became a letter"
        lenient = [commit for commit in world.table.commits if commit.spans and int(commit.run_id.rpartition("-")[2]) % 2]
        if any(
            span.start <= offset < span.end
            for commit in lenient
            for span in commit.spans
            for stream, offset in disputed
            if stream == span.stream
        ):
            yield "a letter of one release found by the other"
