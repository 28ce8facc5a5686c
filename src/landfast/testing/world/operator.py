"""What whoever runs the workers of a world sees: no alarm without a fault, no lane that stands still in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from landfast import events
from landfast.core.report import Outcome
from landfast.model import Stream
from landfast.testing.memory import TableCommit
from landfast.testing.world.schedule import Deed

if TYPE_CHECKING:
    from landfast.testing.world.workers import Worker
    from landfast.testing.world.world import World

_CAUSES = {
    "DATA_EXPIRED": {Deed.EXPIRE, Deed.RECREATE},
    "LOG_TRUNCATED": {Deed.TRUNCATE, Deed.RECREATE},
    "TOPIC_REPLACED": {Deed.RECREATE},
    "TOPIC_GONE": {Deed.RECREATE},
}
"""What must have happened before a lane may halt with this code. No other code has a cause in a world but those of bounded runs."""

OF_BOUNDED_RUNS = frozenset({"HELD_ELSEWHERE", "RETRY_BACKLOG"})
"""Codes with which a lane halts of a run that would have to wait for others, or for letters: the next run goes on."""


def finished_early(world: World, worker: Worker) -> Iterator[str]:
    """What a bounded run should have landed and had not when it said that it was finished.

    Of a stream that the table had never seen, and that held nothing any more, that is nothing, whatever another worker had in hands.
    """
    for stream, bounds in worker.extent.ends.items():
        position = world.table.positions.get(stream)
        cut_off = stream in world.robbed and Deed.TRUNCATE in world.done
        excused = stream in world.replaced or cut_off or (stream not in worker.known and bounds.first >= bounds.end)
        if not excused and (position or 0) < bounds.end:
            yield f"finished early: {worker.name} had to reach {stream}@{bounds.end}, and {position} has landed"


def read_without_leave(commits: Iterable[TableCommit]) -> Iterator[str]:
    """What landed of a topic that was created again, although the table knew the old one when the new one was taken over."""
    positions: set[Stream] = set()
    closed: dict[Stream, bool] = {}
    for commit in commits:
        for stream in commit.owners:
            closed[stream] = any(_replaces(stream, other) for other in positions)
        for stream in commit.positions:
            positions.add(stream)
            if closed.get(stream):
                yield f"read without leave: {stream} is {stream.incarnation}, and the table knew another"


def _replaces(one: Stream, other: Stream) -> bool:
    return (one.topic, one.partition) == (other.topic, other.partition) and one.incarnation != other.incarnation


def operators_view(world: World) -> Iterator[str]:
    """What was told and is not so, and what is so and was not told."""
    for worker in world.workers:
        for event in worker.observer.events:
            if isinstance(event, events.LaneHalted):
                waited = event.halt.code in OF_BOUNDED_RUNS and world.schedule.sizes.until_end
                if not waited and not world.done & _CAUSES.get(event.halt.code, set()):
                    yield f"false alarm: {worker.name} halted {event.stream} with {event.halt.code}: {event.halt.message}"
        if worker.report is not None and not worker.report.totals.holds:
            yield f"{worker.name}: the equation does not hold: {worker.report.totals}"
        if worker.report is not None and worker.report.outcome is Outcome.BROKEN:
            yield f"{worker.name}: {worker.report.error}"
    for stream, offset in world.waiting():
        yield f"silence: {stream}@{offset} has not landed, and no lane of it has halted"
