"""What one route meets is its own: a store that hangs or breaks, rows that are too wide, and what a run is called in the end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import pytest

from landfast.core.batching import BatchLimits
from landfast.core.report import Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import RunnerLimits
from landfast.errors import Broken, LandfastError, Misconfigured, Unavailable
from landfast.model import Chunk, Decoded, Halt, Position, Receipt, Stream
from landfast.testing.executor import SteppedExecutor
from landfast.testing.memory import LineDecoder, ListRows, MemoryDeadLetters, MemorySink, MemoryTable
from tests.core.rig import Rig

RECORDS = 20


def route(rig: Rig, name: str, sink: MemorySink) -> Route:
    """A route that takes the topic of its own name."""
    return Route(name, lambda topic: topic == name, LineDecoder(), sink, MemoryDeadLetters(rig.store), rig.limits)


def filled(*topics: str, **more: object) -> Rig:
    """A rig with some records in each topic."""
    rig = Rig(topics=topics, partitions=1, **more)  # type: ignore[arg-type]
    for topic in topics:
        rig.produce(RECORDS, topic=topic)
    return rig


def test_a_store_that_hangs_while_staging_keeps_no_thread_from_another_route() -> None:
    """Each route decodes and stages on threads of its own."""
    rig = filled("hung", "well", limits=FlowLimits(batch=BatchLimits(records_max=5)))
    executors: list[SteppedExecutor] = []

    def executor() -> SteppedExecutor:
        executors.append(SteppedExecutor())
        return executors[-1]

    rig.executor = executor
    table = MemoryTable()
    runner = rig.runner(route(rig, "hung", MemorySink(rig.table)), route(rig, "well", MemorySink(table)))
    runner_pool, hung_committer, *going = executors

    def world() -> None:
        # Of the first route's pool nothing ever ends: its store hangs.
        hung_committer.run_all()
        for each in going:
            each.run_all()
        if len(table.rows) == RECORDS:
            runner.stop()

    rig.clock.__init__(during_sleep=world)  # type: ignore[misc]
    report = runner.run()
    assert len(table.rows) == RECORDS
    assert report.abandoned == RECORDS
    assert runner_pool.closed


@pytest.mark.parametrize("error", [Broken("LOG_CORRUPT", "m"), Unavailable("SINK_DOWN", "m", kind="down")])
def test_s26_a_sink_that_fails_at_the_first_question_takes_no_other_route_along(error: LandfastError) -> None:
    """A bounded run asks each sink whether there is anything to do; one that cannot say concerns its own route."""
    rig = filled("bad", "well", limits=FlowLimits(retry=RetryPolicy(attempts_max=2)))
    table = MemoryTable()
    report = rig.runner(route(rig, "bad", Mute(rig.table, error)), route(rig, "well", MemorySink(table))).run(until_end=True)
    assert len(table.rows) == RECORDS
    assert {(stream.topic, halt.code) for stream, halt in report.halts.items()} == {("bad", error.code)}


def test_rows_that_fill_the_memory_land_before_their_batch_is_full() -> None:
    """Wide rows may take the memory long before there are as many records as a batch may have: it is cut then, not when it is old."""
    limits = FlowLimits(batch=BatchLimits(records_max=1000, seconds_max=3600.0))
    limits = replace(limits, piece=replace(limits.piece, records_max=8))
    rig = Rig(partitions=1, limits=limits, runner_limits=RunnerLimits(memory_bytes_max=20_000, poll_records=10))
    rig.produce(400)
    report = rig.land(rig.route(decoder=Wide()))
    assert report.totals.written == 400
    assert rig.clock.monotonic() < 60


def test_a_route_that_has_used_up_its_memory_leaves_the_others_theirs() -> None:
    """The memory is shared evenly: records that cannot land do not stop the reading of those that can."""
    limits = FlowLimits(batch=BatchLimits(records_max=4), retry=RetryPolicy(attempts_max=1000, wait_seconds_max=1.0))
    rig = filled("down", "well", limits=limits, runner_limits=RunnerLimits(memory_bytes_max=2_000, poll_records=2))
    table = MemoryTable()
    runner = rig.runner(route(rig, "down", Down(rig.table)), route(rig, "well", MemorySink(table)))

    def world() -> None:
        if len(table.rows) == RECORDS:
            runner.stop()

    rig.clock.__init__(during_sleep=world)  # type: ignore[misc]
    report = runner.run()
    assert len(table.rows) == RECORDS
    assert 0 < report.abandoned < RECORDS


def test_an_outage_is_not_hidden_behind_a_wrong_setting() -> None:
    """A run is refused only where nothing but wrong settings stopped it."""
    rig = filled("refused", "down", limits=FlowLimits(retry=RetryPolicy(attempts_max=2)))
    runner = rig.runner(route(rig, "refused", MemorySink(rig.table)), route(rig, "down", Down(rig.table)))
    runner.flows[0].fail(Misconfigured("SCHEMA_CONFLICT", "m"))
    report = runner.run(until_end=True)
    assert report.outcome is Outcome.HALTED
    assert {halt.code for halt in report.halts.values()} == {"SCHEMA_CONFLICT", "SINK_DOWN"}


def test_an_answer_about_other_streams_does_not_end_a_bounded_run() -> None:
    """A stream that goes to another member while the sink is asked about the others is asked about before the run is over."""
    rig = filled("a", "b", "c", "d", runner_limits=RunnerLimits(others_seconds_max=50.0))
    rig.group.join("another")
    sink = Handing(rig)
    report = rig.runner(rig.route(sink=sink)).run(until_end=True)
    assert report.outcome is Outcome.HALTED
    assert sink.moved is not None
    assert report.halts[sink.moved].code == "HELD_ELSEWHERE"


@dataclass(frozen=True, slots=True)
class WideRows(ListRows):
    """Rows that take forty times the bytes of their records."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return 400 * self.num_rows


class Wide:
    """A table of many columns, most of them null."""

    def decode(self, chunk: Chunk) -> Decoded:
        """One row per line."""
        return Decoded(chunk, WideRows(tuple(chunk.values)))


class Mute(MemorySink):
    """A sink that does not say where it stands."""

    def __init__(self, table: MemoryTable, error: LandfastError) -> None:
        super().__init__(table)
        self._error = error

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Fail."""
        raise self._error

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Fail."""
        raise self._error


class Down(MemorySink):
    """A sink that takes nothing."""

    def commit(self, staged: object) -> Receipt:
        """Fail."""
        raise Unavailable("SINK_DOWN", "m", kind="down")


class Handing(MemorySink):
    """A sink of whose lanes one halts, and is given to another member while the sink is asked about the other member's."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.table)
        self.moved: Stream | None = None
        self._rig = rig
        self._halted: Stream | None = None
        self._ours: set[Stream] = set()

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """One lane of ours halts, and nothing of it lands."""
        found = dict(super().take_over(streams))
        self._ours.update(found)
        self._halted = self._halted or min(found)
        if self._halted in found:
            found[self._halted] = Halt("DLQ_RATE", "m", "n")
        return found

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """The other member has landed its own to the end; the halted one becomes its own meanwhile."""
        if not self._ours or self._ours & set(streams):
            return super().positions(streams)
        if self.moved is None and self._halted is not None:
            self.moved = self._halted
            self._rig.group.assign("another", [self.moved])
        return dict.fromkeys(streams, RECORDS)
