"""Which rare states a world has been in: a campaign that never met one of them has proven nothing about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from landfast import events
from landfast.core.report import Outcome
from landfast.model import Stream
from landfast.testing.faults import MAY_BE_UNAVAILABLE, MAY_CONFLICT, MAY_LOSE_ITS_ANSWER, Kind, When
from landfast.testing.world.deeds import FOREIGN
from landfast.testing.world.schedule import CRASH_PLACES, Deed
from landfast.testing.world.workers import Worker
from landfast.testing.world.world import Outcomes, World

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
)


def expected() -> tuple[str, ...]:
    """Every state that a campaign has to reach: each port call crashed and failed in every way that it can, and what those lead to."""
    crashes = [f"a crash {when.value} {port}.{method}" for port, method in sorted(CRASH_PLACES) for when in When]
    unavailable = [f"{port}.{method} unavailable" for port, method in sorted(MAY_BE_UNAVAILABLE)]
    conflicts = [f"{port}.{method} in conflict" for port, method in sorted(MAY_CONFLICT)]
    lost = [f"an answer of {port}.{method} lost {when.value} the effect" for port, method in sorted(MAY_LOSE_ITS_ANSWER) for when in When]
    return (*crashes, *unavailable, *conflicts, *lost, *STATES)


def reached(world: World, outcomes: Outcomes) -> Counter[str]:
    """How often each state was met."""
    found = Counter(chain(_faults(world), *(_of_worker(worker) for worker in world.workers)))
    found.update(_of_commits(world))
    found.update(_of_world(world, outcomes))
    return found


def _faults(world: World) -> Iterator[str]:
    for worker in world.workers:
        for fault, call in worker.plan.fired:
            where = f"{call.port}.{call.method}"
            if fault.kind is Kind.CRASH:
                yield f"a crash {fault.when.value} {where}"
            elif fault.kind is Kind.UNAVAILABLE:
                yield f"{where} unavailable"
            elif fault.kind is Kind.CONFLICT:
                yield f"{where} in conflict"
            else:
                yield f"an answer of {where} lost {fault.when.value} the effect"


def _of_worker(worker: Worker) -> Iterator[str]:
    gained: Counter[Stream] = Counter()
    retried = False
    for event in worker.observer.events:
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


def _of_world(world: World, outcomes: Outcomes) -> Iterator[str]:
    if any(letter.phase == "write" for letter in world.store.letters):
        yield "a letter of the phase write"
        yield "rows that the sink refused"
    if world.both_own:
        yield "two workers that both took a stream for theirs"
    done = {act.deed for act in world.schedule.acts}
    if Deed.SKEW in done:
        yield "a wall clock set back or forward"
    if Deed.OPEN_TRANSACTION in done:
        yield "an open transaction"
    if world.compacted and not any(place in world.compacted for place in outcomes.verdict.phantom):
        yield "a record compacted away before it was read"
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
