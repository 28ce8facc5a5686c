"""What was read and forgotten during a stop, since the sink refused a row or somebody came first, is read again and lands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from landfast import events
from landfast.core.batching import BatchLimits
from landfast.core.report import EXIT_HALTED, Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits
from landfast.core.runner import Runner, RunnerLimits
from landfast.errors import Conflict, Unavailable
from landfast.model import Halt, Position, Receipt, Staged, Stream
from landfast.testing.memory import MemorySink, MemorySinkSettings
from tests.core.rig import Rig

RECORDS = 50
REFUSED = 20


def filled() -> Rig:
    """Records that make half a batch, which waits until the stop cuts it."""
    limits = FlowLimits(batch=BatchLimits(records_max=2 * RECORDS, seconds_max=3600.0), retry=RetryPolicy(attempts_max=1000))
    rig = Rig(partitions=2, limits=limits, runner_limits=RunnerLimits(shutdown_seconds=30.0))
    rig.produce(RECORDS)
    return rig


def stopped_when_read(rig: Rig, sink: MemorySink) -> Runner:
    """A worker that is asked to stop as soon as it has read all records. More are produced from then on, without an end."""
    runner = rig.runner(rig.route(sink=sink))

    def world() -> None:
        if sum(event.records for event in rig.observer.of(events.RecordsRead)) >= RECORDS:
            rig.produce(RECORDS)
            runner.stop()

    rig.clock.__init__(during_sleep=world)  # type: ignore[misc]
    return runner


@pytest.mark.parametrize("where", ["refuse_at_stage", "refuse_at_commit"])
def test_a_row_that_is_refused_during_a_stop_takes_no_other_row_with_it(where: str) -> None:
    """The refused row is a letter, all others of its batch land before the end, and the stop does not go on reading for ever."""
    rig = filled()
    refusing = MemorySinkSettings(**{where: lambda row: "too_wide" if row.offset == REFUSED else None})  # type: ignore[arg-type]
    report = stopped_when_read(rig, MemorySink(rig.table, settings=refusing)).run()
    assert (report.outcome, report.abandoned, report.exit_code) == (Outcome.STOPPED, 0, 0)
    assert rig.buried(rig.streams[0]) == [REFUSED]
    landed = rig.landed(rig.streams[0])
    assert landed == [offset for offset in range(report.totals.read) if offset != REFUSED]
    assert RECORDS <= report.totals.read <= 4 * RECORDS
    rig.land()
    assert rig.landed(rig.streams[0])[: len(landed) + 1] == [*landed, report.totals.read]


class Contested(MemorySink):
    """A sink in which somebody else comes first, so many times."""

    times = 2

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Refuse, then commit."""
        self.times -= 1
        if self.times >= 0:
            raise Conflict("PIPELINE_CONFLICT", "somebody else has moved the position")
        return super().commit(staged)


def test_a_conflict_during_a_stop_is_settled_before_the_end() -> None:
    """The position is read again, what lies behind it too, and it lands."""
    rig = filled()
    report = stopped_when_read(rig, Contested(rig.table)).run()
    assert (report.abandoned, report.exit_code) == (0, 0)
    assert rig.landed(rig.streams[0]) == list(range(report.totals.read))
    assert report.totals.read >= RECORDS


class Silent(MemorySink):
    """A sink that refuses a row and then does not say any more where a stream stands."""

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Answer once."""
        if self.asked:
            raise Unavailable("SINK_DOWN", "the table does not answer")
        self.asked = True
        return super().take_over(streams)

    asked = False


def test_what_could_not_be_read_again_before_the_deadline_is_told() -> None:
    """The run does not call itself cleanly stopped where records that it had read are left to the next one."""
    rig = filled()
    refusing = MemorySinkSettings(refuse_at_stage=lambda row: "too_wide" if row.offset == REFUSED else None)
    report = stopped_when_read(rig, Silent(rig.table, settings=refusing)).run()
    assert (report.outcome, report.abandoned, report.exit_code) == (Outcome.STOPPED, RECORDS, EXIT_HALTED)
    (lost,) = [event for event in rig.observer.of(events.StreamLost) if event.stream == rig.streams[0]]
    assert (lost.abandoned, lost.drained) == (RECORDS, False)
    assert not rig.landed(rig.streams[0])
