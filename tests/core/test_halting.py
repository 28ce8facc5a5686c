"""A lane that the source cannot read on behind some place lands what it had read before it, and halts then."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import pytest

from landfast import events
from landfast.core.batching import BatchLimits
from landfast.core.report import Outcome
from landfast.core.route import FlowLimits
from landfast.errors import Conflict
from landfast.model import Halt, Poll, Receipt, Staged, Stream
from landfast.testing.memory import MemorySink, MemorySource
from tests.core.rig import Rig


class Damaged(MemorySource):
    """A source that cannot read behind the first hundred records of a partition; after so many polls its topic may be another one."""

    replaces_at: int | None = None

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """The log's poll, but for what lies behind offset 100 of partition 0."""
        polled = super().poll(limit, timeout_seconds, hold)
        if self.polls == self.replaces_at:
            self.group.log.recreate("t")
        behind = {chunk.stream for chunk in polled.chunks if chunk.stream.partition == 0 and chunk.start >= 100}
        chunks = tuple(chunk for chunk in polled.chunks if chunk.stream not in behind)
        reached = {stream: position for stream, position in polled.reached.items() if stream.partition}
        confirmed = {stream: position if stream.partition else min(position, 100) for stream, position in polled.confirmed.items()}
        halting = dict.fromkeys(behind, Halt("BATCH_CORRUPT", "damaged", ""))
        return Poll(chunks, reached, confirmed, polled.halted, halting)


class ConflictOnce(MemorySink):
    """A sink whose first commit meets another owner's."""

    met = False

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Refuse the first."""
        if not self.met:
            self.met = True
            raise Conflict("PIPELINE_CONFLICT", "somebody moved it")
        return super().commit(staged)


def test_what_was_read_before_a_halt_lands_before_it() -> None:
    """Where the source cannot go on behind what it has read, that lands, at once; then the lane halts, and the other one goes on."""
    rig = Rig(partitions=2, limits=FlowLimits(batch=BatchLimits(seconds_max=3600.0)))
    rig.produce(500, partition=0)
    rig.produce(500, partition=1)
    source = Damaged(rig.group, "one", rig.clock, rig.source_settings)
    report = rig.runner(source=source).run(until_end=True)
    (halted,) = rig.observer.of(events.LaneHalted)
    assert halted.position == len(rig.landed(rig.streams[0])) == 100
    assert len(rig.landed(rig.streams[1])) == 500
    assert {stream: halt.code for stream, halt in report.halts.items()} == {rig.streams[0]: "BATCH_CORRUPT"}
    assert report.outcome is Outcome.HALTED


def test_a_conflict_before_a_halt_loses_nothing_that_was_read() -> None:
    """Where what was read before the damage cannot land as it is, the lane is read again, to the damage again."""
    rig = Rig(partitions=1)
    rig.produce(250)
    source = Damaged(rig.group, "one", rig.clock, rig.source_settings)
    report = rig.runner(rig.route(sink=ConflictOnce(rig.table)), source=source).run(until_end=True)
    assert rig.landed(rig.streams[0]) == list(range(100))
    assert rig.observer.of(events.ConflictMet)
    assert {halt.code for halt in report.halts.values()} == {"BATCH_CORRUPT"}


@pytest.mark.parametrize("confirms", [True, False])
def test_what_is_in_doubt_does_not_land_before_a_halt(*, confirms: bool) -> None:
    """What was read before the damage waits for the source's word. Where the topic is another one by now, it is forgotten."""
    rig = Rig(partitions=1)
    rig.produce(250)
    source = Damaged(rig.group, "one", rig.clock, replace(rig.source_settings, checks_apart=8))
    source.replaces_at = None if confirms else 4
    report = rig.runner(source=source).run(until_end=True)
    assert rig.landed(rig.streams[0]) == list(range(100 if confirms else 0))
    assert {halt.code for halt in report.halts.values()} == {"BATCH_CORRUPT" if confirms else "TOPIC_REPLACED"}


class Late(Damaged):
    """A source that also tells of a stream which has gone to somebody else by now."""

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """The same, and a halt of nobody's."""
        polled = super().poll(limit, timeout_seconds, hold)
        gone = Stream("t", "id-1", 7)
        return replace(polled, halting={**polled.halting, gone: Halt("BATCH_CORRUPT", "damaged", "")})


def test_a_halt_of_a_stream_that_has_gone_is_nobodys() -> None:
    """The source says it from its own threads: the stream may belong to another member when it is heard."""
    rig = Rig(partitions=1)
    rig.produce(250)
    source = Late(rig.group, "one", rig.clock, rig.source_settings)
    rig.runner(source=source).run(until_end=True)
    assert [halted.stream for halted in rig.observer.of(events.LaneHalted)] == [rig.streams[0]]
    assert rig.landed(rig.streams[0]) == list(range(100))
