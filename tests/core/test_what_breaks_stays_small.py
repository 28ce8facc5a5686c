"""What breaks one route, one lane or one call breaks no more than that, and is reported."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import pytest

from landfast import events
from landfast.core.batching import BatchLimits
from landfast.core.landing import InFlight, land
from landfast.core.report import Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import RunnerLimits
from landfast.errors import Broken, Conflict, LandfastError, Misconfigured, Refusal, Rejected, Unavailable, check
from landfast.model import Assignment, Batch, Bounds, Chunk, Decoded, Halt, Poll, Receipt, Staged, Stream
from landfast.testing.clock import ManualClock
from landfast.testing.executor import SteppedExecutor
from landfast.testing.memory import LineDecoder, MemoryDeadLetters, MemoryGroup, MemorySink, MemorySource, MemorySourceSettings, MemoryTable
from tests.core.rig import Rig


class FaultyDecoder:
    """A decoder with a defect."""

    def decode(self, chunk: Chunk) -> Decoded:
        """Fail with something that no adapter maps."""
        raise ZeroDivisionError


class ScriptedSource(MemorySource):
    """A source whose polls are followed by one scripted poll, or that fails as scripted."""

    extra: Poll | None = None
    failure: Exception | None = None
    closing: LandfastError | None = None

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """The log's poll, with what the script adds."""
        if self.failure is not None:
            raise self.failure
        polled = super().poll(limit, timeout_seconds, hold)
        if self.extra is None or not polled.chunks:
            return polled
        extra, self.extra = self.extra, None
        return Poll(
            (*polled.chunks, *extra.chunks),
            {**polled.reached, **extra.reached},
            polled.confirmed,
            {**polled.halted, **extra.halted},
        )

    def close(self) -> None:
        """Close, or fail to."""
        super().close()
        if self.closing is not None:
            raise self.closing


def scripted(rig: Rig) -> ScriptedSource:
    """A scripted member of the rig's group."""
    return ScriptedSource(rig.group, "one", rig.clock, rig.source_settings)


def test_a_broken_route_does_not_stop_the_others() -> None:
    """A defect in one route's decoder halts its lanes and is reported; the other route lands to its end."""
    rig = Rig(topics=("a", "b"), partitions=1)
    rig.produce(20, topic="a")
    rig.produce(20, topic="b")
    well = MemoryTable()
    routes = (
        Route("broken", lambda topic: topic == "a", FaultyDecoder(), MemorySink(rig.table), MemoryDeadLetters(rig.store)),
        Route("well", lambda topic: topic == "b", LineDecoder(), MemorySink(well), MemoryDeadLetters(rig.store)),
    )
    report = rig.land(*routes)
    assert report.outcome is Outcome.BROKEN
    assert report.error is not None
    assert report.error.code == "UNEXPECTED"
    assert isinstance(report.error.__cause__, ZeroDivisionError)
    assert not rig.table.rows
    assert len(well.rows) == 20
    assert report.halts[rig.streams[0]].code == "UNEXPECTED"


@pytest.mark.parametrize(
    ("failure", "outcome", "code"),
    [
        (RuntimeError("a defect"), Outcome.BROKEN, "UNEXPECTED"),
        (Broken("INVARIANT_BROKEN", "damage"), Outcome.BROKEN, "INVARIANT_BROKEN"),
        (Misconfigured("TOPIC_MISSING", "no such topic"), Outcome.REFUSED, "TOPIC_MISSING"),
        (Unavailable("SOURCE_DOWN", "nobody answers"), Outcome.HALTED, "SOURCE_DOWN"),
    ],
)
def test_a_run_never_raises(failure: Exception, outcome: Outcome, code: str) -> None:
    """Whatever leaves the source is in the report, with its code."""
    rig = Rig()
    source = scripted(rig)
    source.failure = failure
    report = rig.runner(source=source).run()
    assert report.outcome is outcome
    assert report.error is not None
    assert report.error.code == code


def test_a_source_that_does_not_answer_is_waited_for_and_then_given_up() -> None:
    """Opening is tried again until the time is over; a source that comes back in time is read."""
    for failures, outcome in ((3, Outcome.FINISHED), (10_000, Outcome.HALTED)):
        rig = Rig(runner_limits=RunnerLimits(open=RetryPolicy(attempts_max=50, total_seconds_max=60)))
        rig.produce(10)
        source = Slow(rig.group, "one", rig.clock, rig.source_settings)
        source.failures = failures
        report = rig.runner(source=source).run(until_end=True)
        assert report.outcome is outcome
        assert rig.observer.of(events.RetryScheduled)


class Slow(MemorySource):
    """A source that does not answer at first."""

    failures = 0

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """Fail so many times."""
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("SOURCE_DOWN", "nobody answers")
        return super().bounds(streams)


def test_a_stop_while_nobody_answers_ends_the_run() -> None:
    """A run that is stopped before its source was ever open ends at once."""
    rig = Rig()
    source = Slow(rig.group, "one", rig.clock, rig.source_settings)
    source.failures = 10_000
    runner = rig.runner(source=source)
    rig.clock.__init__(during_sleep=runner.stop)  # type: ignore[misc]
    assert runner.run(until_end=True).outcome is Outcome.STOPPED


def test_a_topic_without_a_route_is_said_and_not_read() -> None:
    """A topic that appears and that no route takes is named, and left in the log."""
    rig = Rig(topics=("a", "b"), partitions=1)
    rig.produce(20, topic="b")
    route = Route("only", lambda topic: topic == "a", LineDecoder(), MemorySink(rig.table), MemoryDeadLetters(rig.store))
    rig.land(route)
    assert [notice.code for notice in rig.observer.of(events.Notice)] == ["TOPIC_UNROUTED"]
    assert not rig.table.rows


def test_r8_what_a_stale_reader_says_is_dropped_and_counted() -> None:
    """A chunk of an older epoch never lands, and the operator can see that it came."""
    rig = Rig(partitions=1)
    rig.produce(20)
    source = scripted(rig)
    places = array("q", [500])
    stale = Chunk(rig.streams[0], 0, 500, 501, [b"stale"], [None], None, places, places, 5)
    gone = Stream("t", "another", 9)
    source.extra = Poll((stale,), {gone: 7}, {}, {gone: Halt("TOPIC_GONE", "it is gone", "")})
    report = rig.runner(source=source).run(until_end=True)
    assert report.totals.read == 20
    assert [event.records for event in rig.observer.of(events.StaleDropped)] == [1]


def test_a_lane_halts_once() -> None:
    """A second reason to halt changes nothing: the first one is the one to look at."""
    rig = Rig(partitions=2, limits=FlowLimits(retry=RetryPolicy(attempts_max=1)))
    rig.produce(20, partition=0)
    rig.produce(20, partition=1)
    source = scripted(rig)
    source.extra = Poll((), {}, {}, {rig.streams[0]: Halt("STUCK_AT", "first", "")})
    runner = rig.runner(rig.route(sink=NeverSink(rig.table)), source=source)
    report = runner.run(until_end=True)
    runner.flows[0].halt(rig.streams[0], Halt("TOPIC_GONE", "second", ""))
    assert {halt.code for halt in report.halts.values()} == {"STUCK_AT", "SINK_DOWN"}
    assert len(rig.observer.of(events.LaneHalted)) == 2


class NeverSink(MemorySink):
    """A sink that is never there for a commit."""

    def commit(self, staged):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Fail."""
        raise Unavailable("SINK_DOWN", "the table does not answer")


def test_a_flow_that_broke_takes_no_further_turn() -> None:
    """After a defect nothing more is landed by the flow, whoever asks it to go on."""
    rig = Rig(partitions=1)
    runner = rig.runner()
    flow = runner.flows[0]
    flow.fail(Broken("INVARIANT_BROKEN", "damage"))
    flow.turn(0.0, drain=True)
    assert not rig.table.commits


def test_a_source_that_fails_to_close_is_said_and_the_rest_is_closed() -> None:
    """Closing goes on behind a failure; damage found while closing is the run's error."""
    for failure, outcome in (
        (Unavailable("SOURCE_DOWN", "gone"), Outcome.FINISHED),
        (Broken("INVARIANT_BROKEN", "damage"), Outcome.BROKEN),
    ):
        rig = Rig(partitions=1)
        rig.produce(5)
        source = scripted(rig)
        source.closing = failure
        report = rig.runner(source=source).run(until_end=True)
        assert report.outcome is outcome
        assert len(rig.table.rows) == 5


def test_a_batch_that_is_not_prepared_is_never_landed() -> None:
    """The check stands on its own, whoever calls."""
    rig = Rig()
    with pytest.raises(Broken):
        land([InFlight(1, {}, {}, 0.0, None)], MemorySink(rig.table), MemoryDeadLetters(rig.store))


def test_errors_say_what_where_and_what_next_and_survive_pickling() -> None:
    """The words, the place and every field come back from a pickle."""
    import pickle

    stream = Stream("t", "id", 3)
    errors: list[LandfastError] = [
        Conflict("PIPELINE_CONFLICT", "somebody moved it", stream=stream, position=17, next_step="Nothing."),
        Unavailable("SINK_DOWN", "not now", kind="throttled"),
        Rejected("ROWS_REFUSED", "one row", refusals=(Refusal(stream, 1, "too_odd", "it is too odd"),)),
        Broken("INVARIANT_BROKEN", "damage", stream=stream),
    ]
    for error in errors:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__
    assert str(errors[0]) == "PIPELINE_CONFLICT at t[3] offset 17: somebody moved it. Next: Nothing."
    assert str(errors[3]) == "INVARIANT_BROKEN at t[3]: damage"


def test_check_is_never_compiled_away() -> None:
    """A condition that does not hold raises Broken with its place."""
    check(condition=True, message="all is well")
    with pytest.raises(Broken, match="SCHEMA_CONFLICT"):
        check(condition=False, message="it is not", code="SCHEMA_CONFLICT")


def test_an_assignment_that_repeats_a_stream_begins_anew() -> None:
    """A stream that is gained twice without being lost between is placed again, and nothing of it lands twice."""
    rig = Rig(partitions=1)
    rig.produce(30)
    source = Repeating(rig.group, "one", rig.clock, rig.source_settings)
    rig.runner(source=source).run(until_end=True)
    assert rig.landed(rig.streams[0]) == list(range(30))


class Repeating(MemorySource):
    """A source that says twice that a stream is ours."""

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """As the log does."""
        super().rewind(assignments)

    def _reconcile(self) -> None:
        super()._reconcile()
        if self.polls == 1 and self._membership is not None:
            again: Mapping[Stream, Assignment] = self._membership.gained(tuple(self._readers))
            self.rewind(again)


def test_a_failure_that_comes_too_late_delays_nobody() -> None:
    """A commit that fails after its stream was lost and gained again is not retried: the lane starts where the sink stands."""
    executors: list[SteppedExecutor] = []

    def executor() -> SteppedExecutor:
        executors.append(SteppedExecutor(ahead=1))
        return executors[-1]

    rig = Rig(partitions=1, executor=executor, clock=ManualClock(lambda: [each.step() for each in executors]))
    rig.produce(20)
    report = rig.land(rig.route(sink=LosingSink(rig.table, rig.group)))
    assert report.outcome is Outcome.FINISHED
    assert next(iter(rig.observer.of(events.StreamLost))).abandoned == 20
    assert not rig.observer.of(events.RetryScheduled)
    assert rig.landed(rig.streams[0]) == list(range(20))


class LosingSink(MemorySink):
    """A sink whose first commit fails, while the group takes every stream away."""

    def __init__(self, table: MemoryTable, group: MemoryGroup) -> None:
        super().__init__(table)
        self._group: MemoryGroup | None = group

    def commit(self, staged):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Fail once, or commit."""
        group, self._group = self._group, None
        if group is not None:
            group.lose(group.log.streams())
            raise Unavailable("SINK_DOWN", "the table does not answer")
        return super().commit(staged)


def test_a_conflict_while_staging_costs_only_a_second_reading() -> None:
    """What was read is forgotten and read again from the sink's position: it lands once, and nothing of it dies."""
    rig = Rig(partitions=2)
    rig.produce(20, partition=0)
    rig.produce(20, partition=1)
    report = rig.land(rig.route(sink=DisputedSink(rig.table)))
    assert report.outcome is Outcome.FINISHED
    assert [event.code for event in rig.observer.of(events.ConflictMet)] == ["SCHEMA_CONFLICT"]
    assert [rig.landed(stream) for stream in rig.streams] == [list(range(20))] * 2
    assert not rig.store.letters


class DisputedSink(MemorySink):
    """A sink whose table another process changes while the first batch is staged."""

    disputed = True

    def stage(self, batch):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Fail once, or stage."""
        if self.disputed:
            self.disputed = False
            raise Conflict("SCHEMA_CONFLICT", "another process has changed the table")
        return super().stage(batch)


def test_a_route_that_broke_gains_no_further_streams() -> None:
    """In the next rebalance the streams of a broken route are placed nowhere, those of the others are."""
    rig = Rig(topics=("a", "b"), partitions=1)
    routes = [
        Route(name, lambda topic, name=name: topic == name, LineDecoder(), MemorySink(rig.table), MemoryDeadLetters(rig.store))  # type: ignore[misc]
        for name in rig.topics
    ]
    runner = rig.runner(*routes)
    runner.flows[0].fail(Broken("INVARIANT_BROKEN", "damage"))
    runner.gained(rig.streams)
    assert [set(flow.lanes) for flow in runner.flows] == [set(), {rig.streams[1]}]


def test_a_chunk_without_a_record_is_not_decoded() -> None:
    """Of a chunk that lies behind the end of a bounded run only the gap before that end is left, and only the position moves over it."""
    limits = FlowLimits(batch=BatchLimits(records_max=10))
    rig = Rig(partitions=1, limits=limits, source_settings=MemorySourceSettings(chunk_records_max=10))
    rig.produce(10)
    rig.log.append_marker("t", 0, 2)
    decoder = CountingDecoder()
    source = Growing(rig.group, "one", rig.clock, rig.source_settings)
    report = rig.runner(rig.route(decoder=decoder), source=source).run(until_end=True)
    assert report.outcome is Outcome.FINISHED
    assert decoder.records == [10]
    assert rig.table.positions[rig.streams[0]] == 12


class Growing(MemorySource):
    """A source whose log has one more record whenever it is polled."""

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """Append, then read."""
        self.group.log.append("t", 0, b"late")
        return super().poll(limit, timeout_seconds, hold)


class CountingDecoder(LineDecoder):
    """A decoder that notes how many records it is given."""

    def __init__(self) -> None:
        self.records: list[int] = []

    def decode(self, chunk: Chunk) -> Decoded:
        """Note and decode."""
        self.records.append(len(chunk))
        return super().decode(chunk)


def test_a_stream_of_another_member_that_is_gone_is_said_once() -> None:
    """While a bounded run waits for the other members, it names what nobody will land, once, and ends when the rest has landed."""
    rig = Rig(topics=("gone", "late", "mine"), partitions=1)
    for topic in rig.topics:
        rig.produce(10, topic=topic)
    gone, late, mine = rig.streams
    rig.group.join("another")
    befalls = [(20.0, lambda: rig.log.delete("gone")), (40.0, lambda: land_alone(rig, "late"))]

    def go_on() -> None:
        if befalls and rig.clock.monotonic() > befalls[0][0]:
            befalls.pop(0)[1]()

    rig.clock.__init__(during_sleep=go_on)  # type: ignore[misc]
    report = rig.runner().run(until_end=True)
    assert report.outcome is Outcome.HALTED
    assert [(event.stream, event.halt.code) for event in rig.observer.of(events.LaneHalted)] == [(gone, "TOPIC_GONE")]
    assert (rig.landed(late), rig.landed(mine)) == ([*range(10)], [*range(10)])


def land_alone(rig: Rig, topic: str) -> None:
    """Another process lands a topic to its end."""
    source = MemorySource(MemoryGroup(rig.log, [topic]), "another", ManualClock(), rig.source_settings)
    rig.runner(source=source).run(until_end=True)


class Stricter(LineDecoder):
    """A decoder of later settings: it also rejects what ends in a five."""

    def decode(self, chunk: Chunk) -> Decoded:
        """Take lines that end in a five for bad ones."""
        values = [b"bad" if value is not None and value.endswith(b"5") else value for value in chunk.values]
        decoded = super().decode(replace(chunk, values=values))
        return replace(decoded, chunk=chunk)


class Asleep(MemorySink):
    """A sink whose first commit comes after something else has happened."""

    meanwhile: Callable[[], object] | None = None

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Sleep, then commit."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().commit(staged)


def test_a_sleeper_with_older_settings_lands_nothing_beside_a_letter() -> None:
    """A former owner, for which a record is a row, wakes after its successor has buried it and before that has committed."""
    rig = Rig(partitions=1)
    rig.produce(10)
    successor = rig.route(sink=NeverSink(rig.table), decoder=Stricter())
    elsewhere = MemorySource(MemoryGroup(rig.log, rig.topics), "two", rig.clock, rig.source_settings)
    sleeper = Asleep(rig.table)
    sleeper.meanwhile = lambda: rig.runner(successor, source=elsewhere).run(until_end=True)
    rig.runner(rig.route(sink=sleeper)).run(until_end=True)
    assert rig.buried(rig.streams[0]) == [5]
    assert rig.landed(rig.streams[0]) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_a_sink_that_does_not_say_where_it_stands_holds_up_no_other_route() -> None:
    """While one route's store hangs, the main thread goes on and the other route lands."""
    rig = Rig(topics=("a", "b"), partitions=1, executor=SteppedExecutor)
    rig.produce(20, topic="b")
    well = MemoryTable()
    routes = (
        Route("hung", lambda topic: topic == "a", LineDecoder(), MemorySink(rig.table), MemoryDeadLetters(rig.store)),
        Route("well", lambda topic: topic == "b", LineDecoder(), MemorySink(well), MemoryDeadLetters(rig.store)),
    )
    executors: list[SteppedExecutor] = []

    def executor() -> SteppedExecutor:
        executors.append(SteppedExecutor())
        return executors[-1]

    rig.executor = executor
    runner = rig.runner(*routes)
    _, hung, pool, going, _ = executors

    def world() -> None:
        pool.run_all()
        going.run_all()
        if len(well.rows) == 20:
            runner.stop()

    rig.clock.__init__(during_sleep=world)  # type: ignore[misc]
    report = runner.run()
    assert len(well.rows) == 20
    assert report.outcome is Outcome.STOPPED
    assert hung.closed


def test_batches_that_fail_together_are_one_failure() -> None:
    """Three batches that meet a full disk at once use up one attempt, not three."""
    rig = Rig(partitions=1, limits=FlowLimits(batch=BatchLimits(records_max=5), retry=RetryPolicy(attempts_max=4)))
    rig.produce(15)
    report = rig.land(rig.route(sink=FullDisk(rig.table)))
    assert report.outcome is Outcome.FINISHED
    assert [event.attempt for event in rig.observer.of(events.RetryScheduled)] == [1, 2]
    assert rig.landed(rig.streams[0]) == list(range(15))


class FullDisk(MemorySink):
    """A sink whose disk is full for the first two rounds of three batches."""

    rounds = 6

    def stage(self, batch: Batch) -> Staged:
        """Fail, or stage."""
        if self.rounds > 0:
            self.rounds -= 1
            raise Unavailable("DISK_FULL", "no space is left", kind="disk")
        return super().stage(batch)


def test_a_flow_that_breaks_during_a_commit_still_counts_it() -> None:
    """The commit that was under way is in the report, and the run ends."""
    rig = Rig(partitions=1, limits=FlowLimits(batch=BatchLimits(records_max=5)))
    rig.produce(10)
    runner = rig.runner(rig.route(sink=BreaksLater(rig.table, lambda: runner.flows[0].fail(Broken("INVARIANT_BROKEN", "damage")))))
    report = runner.run(until_end=True)
    assert report.outcome is Outcome.BROKEN
    assert report.totals.written == len(rig.table.rows) > 0


class BreaksLater(MemorySink):
    """A sink during whose commit something else breaks the flow."""

    def __init__(self, table: MemoryTable, breaks: Callable[[], object]) -> None:
        super().__init__(table)
        self._breaks = breaks

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Commit, while the flow breaks."""
        receipt = super().commit(staged)
        self._breaks()
        return receipt


def test_a_topic_that_two_routes_take_is_read_by_neither() -> None:
    """A topic that appears while running and that two routes would take is named, and left in the log."""
    rig = Rig(topics=("a",), partitions=1)
    rig.produce(20, topic="a")
    other = MemoryTable()
    routes = (rig.route(name="one"), rig.route(sink=MemorySink(other), name="two"))
    runner = rig.runner(*routes)
    rig.clock.__init__(during_sleep=runner.stop)  # type: ignore[misc]
    runner.run()
    assert [notice.code for notice in rig.observer.of(events.Notice)] == ["TOPIC_UNROUTED"]
    assert not rig.table.rows
    assert not other.rows


def test_a_stream_that_went_while_the_sink_was_asked_is_left_to_its_new_owner() -> None:
    """A question that waited behind a slow commit takes nothing over that is not ours any more."""
    rig = Rig(partitions=2, executor=SteppedExecutor)
    executors: list[SteppedExecutor] = []

    def executor() -> SteppedExecutor:
        executors.append(SteppedExecutor())
        return executors[-1]

    rig.executor = executor
    flow = rig.runner().flows[0]
    flow.gain(rig.streams)
    flow.place(0.0)
    flow.release(rig.streams[:1])
    executors[1].run_all()
    assert set(rig.table.snapshot().owners) == {rig.streams[1]}
    assert set(flow.place(0.0)) == {rig.streams[1]}
