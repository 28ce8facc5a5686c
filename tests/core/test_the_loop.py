"""What the engine promises, on ports in memory: one promise a test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from landfast import events
from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.report import Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits
from landfast.errors import Conflict, Unavailable
from landfast.model import Guarantee, Level, Stream, Totals
from landfast.ports import DeadLetters
from landfast.testing.memory import MemoryDeadLetters, MemorySink, MemorySinkSettings, MemorySourceSettings
from tests.core.rig import Rig


def small_batches(records: int = 10, **more: object) -> FlowLimits:
    """Limits that cut a batch every few records."""
    return FlowLimits(batch=BatchLimits(records_max=records), **more)  # type: ignore[arg-type]


def test_every_record_ends_in_one_place() -> None:
    """Rows, letters and skips together are every record of the log, once, and the run's equation says so."""
    rig = Rig(limits=small_batches(breaker=BreakerLimits(share_max=1.0)))
    rig.produce(100, partition=0, bad_every=10)
    rig.produce(33, partition=1)
    rig.log.append("t", 1, None)
    report = rig.land()
    first, second = rig.streams
    assert report.outcome is Outcome.FINISHED
    assert sorted(rig.landed(first) + rig.buried(first)) == list(range(100))
    assert rig.landed(second) == list(range(33))
    assert report.totals == Totals(read=134, written=123, dead=10, skipped={"tombstone": 1})
    assert report.totals.holds


def test_order_read_is_order_landed() -> None:
    """Inside a stream, rows land in the order of their offsets, whatever the batches."""
    rig = Rig(limits=small_batches(7))
    rig.produce(500)
    rig.land()
    assert rig.landed(rig.streams[0]) == list(range(500))


class Forgetful(MemorySink):
    """A sink that could not vouch for its positions."""

    @property
    def guarantee(self) -> Guarantee:
        """Weaker."""
        return Guarantee(Level.AT_LEAST_ONCE, "rows and positions are two writes")


def test_s27_a_run_says_what_its_sinks_promise() -> None:
    """The promise of each kind of sink stands in the event with which the run begins: a strong one hides no weak one."""
    rig = Rig(topics=("weak", "strong"), partitions=1)
    rig.produce(20, topic="weak")
    weak = replace(rig.route(Forgetful(rig.table), name="one"), takes=lambda topic: topic == "weak")
    strong = replace(rig.route(name="other"), takes=lambda topic: topic == "strong")
    report = rig.land(weak, strong)
    (started,) = rig.observer.of(events.RunStarted)
    assert started.guarantee == "at-least-once, exactly-once"
    assert rig.landed(rig.streams[0]) == list(range(20))
    assert report.totals == Totals(read=20, written=20)


def test_a_second_run_reads_nothing_again() -> None:
    """The sink's own position says where to go on; what has landed is not read again."""
    rig = Rig()
    rig.produce(50)
    rig.land()
    rig.produce(20)
    report = rig.land()
    assert report.totals.read == 20
    assert rig.landed(rig.streams[0]) == list(range(70))


def test_a_bounded_run_stops_at_the_end_it_saw() -> None:
    """Records that arrive after the start of a bounded run are left for the next one."""
    rig = Rig(partitions=1)
    rig.produce(30)
    runner = rig.runner()
    rig.clock.__init__(during_sleep=lambda: rig.produce(5))  # type: ignore[misc]
    bounded = runner.run(until_end=True)
    assert bounded.totals.read == 30


def test_a_bounded_run_ends_behind_markers_and_empty_streams() -> None:
    """The position moves over transaction markers at the tail, and a stream that holds nothing is finished."""
    rig = Rig(partitions=3)
    rig.produce(5, partition=0)
    rig.log.append_marker("t", 0, 3)
    rig.log.append_marker("t", 1, 2)
    report = rig.land()
    assert report.outcome is Outcome.FINISHED
    assert rig.table.positions[rig.streams[0]] == 8
    assert rig.table.positions[rig.streams[1]] == 2
    assert rig.table.positions.get(rig.streams[2], 0) == 0


def test_where_a_stream_begins_is_landed_before_its_first_record() -> None:
    """A run that starts at the latest record and ends without one has fixed its beginning: the next run does not start later."""
    rig = Rig(partitions=1, source_settings=MemorySourceSettings(start="latest"))
    rig.produce(30)
    rig.land()
    rig.produce(5)
    rig.land()
    assert rig.landed(rig.streams[0]) == [30, 31, 32, 33, 34]


def test_batches_are_cut_at_their_limit() -> None:
    """A batch holds at most the records it may."""
    rig = Rig(partitions=1, limits=small_batches(100))
    rig.produce(130)
    rig.land()
    cut = [event.records for event in rig.observer.of(events.BatchCut)]
    assert cut == [100, 30]


def test_a_transient_failure_is_retried_with_the_batch_intact() -> None:
    """A sink that is away three times lands the batch once, without a letter; the attempts are counted."""
    rig = Rig(partitions=1)
    rig.produce(50)
    sink = FailingSink(rig, failures=3)
    report = rig.land(rig.route(sink=sink))
    assert report.outcome is Outcome.FINISHED
    assert rig.landed(rig.streams[0]) == list(range(50))
    assert [event.attempt for event in rig.observer.of(events.RetryScheduled)] == [1, 2, 3]
    assert (report.batches, report.retries) == (1, {"transient": 3})
    assert not rig.store.letters


def test_a_batch_that_is_tried_again_dies_once() -> None:
    """Ten dead records are ten for the breaker, however often their commit is tried: an outage is no reason to halt for bad data."""
    rig = Rig(partitions=1, limits=FlowLimits(breaker=BreakerLimits(share_max=0.0012)))
    rig.produce(100, bad_every=10)
    report = rig.land(rig.route(sink=FailingSink(rig, failures=5)))
    assert report.outcome is Outcome.FINISHED
    assert (report.totals.written, report.totals.dead) == (90, 10)


def test_conflicts_with_a_landing_between_them_halt_nothing() -> None:
    """Only conflicts in a row say that somebody else lands what is ours; one after each batch costs time, and the run goes on."""
    rig = Rig(partitions=1, limits=small_batches(conflicts_max=3, flight_batches_max=1))
    rig.produce(100)
    report = rig.land(rig.route(sink=ContestedSink(rig)))
    assert report.outcome is Outcome.FINISHED
    assert rig.landed(rig.streams[0]) == list(range(100))
    assert len(rig.observer.of(events.ConflictMet)) > 3


def test_when_retries_end_the_lanes_halt_with_everything_intact() -> None:
    """An infrastructure fault never makes dead letters: the lane halts, and the next run lands what was read."""
    rig = Rig(partitions=1, limits=FlowLimits(retry=RetryPolicy(attempts_max=3)))
    rig.produce(50)
    report = rig.land(rig.route(sink=FailingSink(rig, failures=1000)))
    assert report.outcome is Outcome.HALTED
    assert report.halts[rig.streams[0]].code == "SINK_DOWN"
    assert not rig.table.rows
    assert not rig.store.letters
    assert rig.land().totals.written == 50


def test_rows_refused_while_staging_become_letters() -> None:
    """What the sink cannot stage is buried, whole, and the rest of the batch lands."""
    rig = Rig(partitions=1)
    rig.produce(20)
    settings = MemorySinkSettings(refuse_at_stage=lambda row: "too_odd" if row.offset in {3, 7} else None)
    rig.land(rig.route(sink=MemorySink(rig.table, settings=settings)))
    assert rig.buried(rig.streams[0]) == [3, 7]
    assert rig.landed(rig.streams[0]) == [offset for offset in range(20) if offset not in {3, 7}]


def test_rows_refused_at_the_commit_become_letters() -> None:
    """What the sink refuses only at the commit is read again, buried, and the rest lands once."""
    rig = Rig(partitions=1)
    rig.produce(20)
    settings = MemorySinkSettings(refuse_at_commit=lambda row: "constraint" if row.offset == 5 else None)
    report = rig.land(rig.route(sink=MemorySink(rig.table, settings=settings)))
    assert rig.buried(rig.streams[0]) == [5]
    assert [letter.phase for letter in rig.store.letters] == ["write"]
    assert rig.landed(rig.streams[0]) == [offset for offset in range(20) if offset != 5]
    assert report.totals.dead == 1


def test_d17_letters_are_durable_before_the_position_passes_them() -> None:
    """While the dead letters cannot be written nothing passes the bad record, and nothing is skipped."""
    rig = Rig(partitions=1, limits=FlowLimits(retry=RetryPolicy(attempts_max=2)))
    rig.produce(10, bad_every=5)
    report = rig.land(rig.route(letters=SilentLetters(MemoryDeadLetters(rig.store))))
    assert report.halts[rig.streams[0]].code == "DLQ_DOWN"
    assert not rig.table.rows
    assert rig.streams[0] not in rig.table.positions


def test_a_letter_buried_before_a_crash_is_not_buried_again() -> None:
    """After a crash between letters and commit, the buried records are dead already, also for a decoder that would take them."""
    rig = Rig(partitions=1, limits=FlowLimits(retry=RetryPolicy(attempts_max=1)))
    rig.produce(10, bad_every=5)
    rig.land(rig.route(sink=FailingSink(rig, failures=1000)))
    assert rig.buried(rig.streams[0]) == [4, 9]
    report = rig.land()
    assert rig.buried(rig.streams[0]) == [4, 9]
    assert report.totals == Totals(read=10, written=8, dead=2, skipped={})


def test_the_breaker_halts_before_it_buries() -> None:
    """When too many records in a row would die, the lane halts and not one of the batch's records is buried."""
    rig = Rig(limits=FlowLimits(breaker=BreakerLimits(in_a_row_max=20)))
    rig.produce(50, partition=0, bad_every=1)
    rig.produce(50, partition=1)
    report = rig.land()
    assert report.outcome is Outcome.HALTED
    assert report.halts[rig.streams[0]].code == "DLQ_RATE"
    assert not rig.store.letters
    assert rig.landed(rig.streams[1]) == list(range(50))


def test_one_halted_lane_does_not_stop_the_others() -> None:
    """A lane that the source halts stands still with its code; the others land to their end."""
    rig = Rig(limits=small_batches(10))
    rig.produce(50, partition=0)
    rig.produce(50, partition=1)
    rig.land()
    rig.produce(50, partition=0)
    rig.produce(50, partition=1)
    rig.log.expire(rig.streams[0], 60)
    report = rig.land()
    assert report.outcome is Outcome.HALTED
    assert report.halts[rig.streams[0]].code == "DATA_EXPIRED"
    assert rig.landed(rig.streams[1]) == list(range(100))
    assert rig.landed(rig.streams[0]) == list(range(50))


def test_two_incarnations_of_a_partition_are_never_in_one_commit() -> None:
    """A topic created again is gained before the old one was taken away: the old lane goes, since one commit cannot hold both."""
    rig = Rig(partitions=2)
    runner = rig.runner()
    runner.gained(rig.streams)
    again, other = Stream("t", "another", 0), rig.streams[1]
    runner.gained([again])
    assert set(runner.flows[0].lanes) == {again, other}
    assert [event.stream for event in rig.observer.of(events.StreamLost)] == [rig.streams[0]]


def test_a_replaced_topic_never_lands_under_the_old_position() -> None:
    """A topic that is deleted and created again halts; nothing of the new one lands as the old one's."""
    rig = Rig(partitions=1)
    rig.produce(50)
    rig.land()
    rig.log.recreate("t")
    rig.produce(80)
    report = rig.land()
    assert report.outcome is Outcome.HALTED
    assert next(iter(report.halts.values())).code == "TOPIC_REPLACED"
    assert len(rig.table.rows) == 50


def test_what_is_read_after_a_replacement_is_not_confirmed() -> None:
    """When the topic is replaced between the read and the check, what was read does not land."""
    rig = Rig(partitions=1, source_settings=MemorySourceSettings(checks_apart=1_000_000))
    rig.produce(50)
    source = rig.source()
    runner = rig.runner(source=source)
    rig.clock.__init__(during_sleep=runner.stop)  # type: ignore[misc]
    runner.run()
    assert not rig.table.rows


def test_a_stop_lands_what_was_read() -> None:
    """Fifty records, then a stop: fifty landed, none read again."""
    rig = Rig(partitions=1)
    rig.produce(50)
    runner = rig.runner()
    rig.clock.__init__(during_sleep=lambda: rig.observer.of(events.RecordsRead) and runner.stop())  # type: ignore[misc]
    report = runner.run()
    assert report.outcome is Outcome.STOPPED
    assert report.abandoned == 0
    assert rig.landed(rig.streams[0]) == list(range(50))
    assert rig.land().totals.read == 0


@pytest.mark.museum(3, 21)
def test_acknowledgements_never_exceed_what_landed() -> None:
    """The group is told positions that the sink holds, and nothing else."""
    rig = Rig(limits=small_batches(10))
    rig.produce(100)
    rig.land()
    told = [acknowledgement.position for acknowledgement in rig.group.acknowledged if acknowledgement.stream == rig.streams[0]]
    ends = {span.end for commit in rig.table.commits for span in commit.spans if span.stream == rig.streams[0]}
    assert set(told) <= ends
    assert told == sorted(told)
    assert told[-1] == 100


class FailingSink(MemorySink):
    """A sink whose commits fail before any effect, so many times."""

    def __init__(self, rig: Rig, failures: int) -> None:
        super().__init__(rig.table)
        self._failures = failures

    def commit(self, staged):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Fail, or commit."""
        if self._failures > 0:
            self._failures -= 1
            raise Unavailable("SINK_DOWN", "the table does not answer")
        return super().commit(staged)


class ContestedSink(MemorySink):
    """A sink that refuses every second commit as a conflict."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.table)
        self._refuses = False

    def commit(self, staged):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Refuse, or commit."""
        self._refuses = not self._refuses
        if self._refuses:
            raise Conflict("PIPELINE_CONFLICT", "somebody else has moved the position")
        return super().commit(staged)


class SilentLetters:
    """Dead letters that can be claimed and never written."""

    def __init__(self, real: DeadLetters) -> None:
        self.claim = real.claim
        self.buried = real.buried
        self.close = real.close

    def put(self, letters: object) -> None:
        """Fail."""
        raise Unavailable("DLQ_DOWN", "the letters' table does not answer")
